package dui_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	dui "github.com/buming/dui/clients/go"
)

// standIn is a node of one answer, so that the examples run by themselves.
func standIn(contentType, answer string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		fmt.Fprint(w, answer)
	}))
}

func ExampleClient_Put() {
	node := standIn("application/json", `{"key":"config/limits","version":"01-7f","acked":2}`)
	defer node.Close()
	client, err := dui.New(node.URL)
	if err != nil {
		log.Fatal(err)
	}
	careful := &dui.WriteOptions{Ack: 2, ContentType: "text/plain"}
	written, err := client.Put(context.Background(), "config/limits", []byte("10"), careful)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(written.Key, "is held by", written.Acked)
	// Output: config/limits is held by 2
}

func ExampleClient_Members() {
	node := standIn("application/json", `{"members":[{"name":"ann","state":"alive","address":"10.0.0.1:7781",
		"tags":{"rack":"a1"},"since":"2026-11-25T00:00:00Z"}]}`)
	defer node.Close()
	client, err := dui.New(node.URL)
	if err != nil {
		log.Fatal(err)
	}
	members, err := client.Members(context.Background(), dui.Alive)
	if err != nil {
		log.Fatal(err)
	}
	for _, member := range members {
		fmt.Println(member.Name, "at", member.Address, "in rack", member.Tags["rack"])
	}
	// Output: ann at 10.0.0.1:7781 in rack a1
}

func ExampleClient_Follow() {
	node := standIn("text/event-stream", `event: reset
data: {"members":[]}

event: shared_changed
data: {"change":"put","entry":{"key":"config/limits","value":"10","at":"2026-11-25T00:00:00Z"}}

event: complete
id: run-1
data: {}

`)
	defer node.Close()
	client, err := dui.New(node.URL)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	for watched := range client.Follow(ctx, dui.WatchFilter{SharedPrefix: "config/"}, nil) {
		switch watched.Kind {
		case dui.Reset:
			fmt.Println("what I knew is void")
		case dui.SharedChanged:
			fmt.Printf("%s %s is %s\n", watched.Change, watched.Entry.Key, watched.Entry.Value)
		case dui.Complete:
			fmt.Println("now I know all")
			stop()
		}
	}
	// Output:
	// what I knew is void
	// put config/limits is 10
	// now I know all
}
