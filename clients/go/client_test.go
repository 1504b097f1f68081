package dui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestANodeTellsWhoIsThereAndWhatItKnows(t *testing.T) {
	nodes, client := town(t, "ann", "bo", "cy")
	ctx := soon(t)
	self, err := client.Self(ctx)
	if err != nil || self.Leaving || self.Role != "manager" || self.Since.IsZero() {
		t.Fatalf("%+v, %v", self, err)
	}
	members, err := client.Members(ctx)
	if err != nil || len(members) != 3 || members[0].Name != "ann" {
		t.Fatalf("%+v, %v", members, err)
	}
	if left, err := client.Members(ctx, Failed, Left); err != nil || len(left) != 0 {
		t.Fatalf("%+v, %v", left, err)
	}
	bo, err := client.Member(ctx, "bo")
	if err != nil || bo.ID != members[1].ID {
		t.Fatalf("%+v, %v", bo, err)
	}
	if why, err := client.Why(ctx, bo.ID); err != nil || why.Member.Name != "bo" {
		t.Fatalf("%+v, %v", why, err)
	}
	if _, err := client.Member(ctx, "no/one?"); CodeOf(err) != CodeUnknownMember {
		t.Fatal(err)
	}
	if _, err := client.Forget(ctx, "bo", false); CodeOf(err) != CodeMemberAlive && CodeOf(err) != CodeForgetSelf {
		t.Fatal(err)
	}
	if _, err := client.RecoverShared(ctx, Keep); CodeOf(err) != CodeNotParted {
		t.Fatal(err)
	}
	if _, err := client.RecoverReset(ctx); CodeOf(err) != CodeNoDataDir {
		t.Fatal(err)
	}
	if err := client.AbandonFounding(ctx); CodeOf(err) != CodeNotFounding {
		t.Fatal(err)
	}
	if _, err := client.Restore(ctx, []byte("no backup")); CodeOf(err) != CodeBadBackup {
		t.Fatal(err)
	}
	if found, err := client.Discovery(ctx); err != nil || len(found.Providers) == 0 {
		t.Fatalf("%+v, %v", found, err)
	}
	if diagnosis, err := client.Doctor(ctx); err != nil || !diagnosis.Healthy || len(diagnosis.Checks) == 0 {
		t.Fatalf("%+v, %v", diagnosis, err)
	}
	health, err := New(nodes[0].health)
	if err != nil {
		t.Fatal(err)
	}
	for _, probe := range []Probe{Live, Started} {
		if err := health.Probe(ctx, probe); err != nil {
			t.Fatal(probe, err)
		}
	}
	one, err := New(nodes[2].client)
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := one.Leave(ctx)
	if err != nil || outcome.State != Left {
		t.Fatalf("%+v, %v", outcome, err)
	}
	if problem := health.Probe(ctx, Ready); problem != nil && CodeOf(problem) != CodeNotReady {
		t.Fatal(problem)
	}
}

func TestAnyBytesComeBackAsTheyWentIn(t *testing.T) {
	_, client := town(t, "ann", "bo")
	ctx := soon(t)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	careful := &WriteOptions{Ack: AckAll, TTL: time.Hour, ContentType: "image/x", Timeout: 10 * time.Second}
	for _, key := range []string{"plain", "a/b", "a/../b", ".", "/", "ü ?&=+%", "a//b"} {
		for _, value := range [][]byte{all, []byte("grüß dich"), {}} {
			written, err := client.Put(ctx, key, value, careful)
			if err != nil || written.Acked != 2 || written.Key != key {
				t.Fatalf("%q: %+v, %v", key, written, err)
			}
			entry, err := client.Entry(ctx, key)
			if err != nil || !bytes.Equal(entry.Value, value) || entry.ContentType != "image/x" || entry.Version != written.Version {
				t.Fatalf("%q: %+v, %v", key, entry, err)
			}
			if entry.TTL <= 0 || entry.TTL > time.Hour {
				t.Fatalf("%q lives for %s", key, entry.TTL)
			}
		}
		if gone, err := client.Delete(ctx, key, nil); err != nil || gone == nil {
			t.Fatalf("%q: %v", key, err)
		}
		if gone, err := client.Delete(ctx, key, nil); err != nil || gone != nil {
			t.Fatalf("%q: %+v, %v", key, gone, err)
		}
		if entry, err := client.Entry(ctx, key); err != nil || entry != nil {
			t.Fatalf("%q: %+v, %v", key, entry, err)
		}
	}
	if _, err := client.Put(ctx, strings.Repeat("k", 1_025), nil, nil); CodeOf(err) != CodeBadKey {
		t.Fatal(err)
	}
	var problem *Problem
	_, err := client.Put(ctx, "k", nil, &WriteOptions{Ack: 3, Timeout: 50 * time.Millisecond})
	if !errors.As(err, &problem) || problem.Code != CodeAckTimeout || problem.Acked == nil || problem.Status != 504 {
		t.Fatalf("%+v, %v", problem, err)
	}
}

func TestManyEntriesAreListedAndBatched(t *testing.T) {
	_, client := town(t, "ann")
	ctx := soon(t)
	var operations []Operation
	for i := 0; i < 1_000; i++ {
		operations = append(operations, PutOperation(fmt.Sprintf("many/%04d", i), []byte{byte(i), 0xff}))
	}
	results, err := client.Batch(ctx, operations, nil)
	if err != nil || len(results) != 1_000 || results[0].Written == nil {
		t.Fatalf("%d, %v", len(results), err)
	}
	if _, err := client.Put(ctx, "many/1000", []byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	var keys []string
	err = client.Entries(ctx, "many/", func(entry Entry) error {
		keys = append(keys, entry.Key)
		return nil
	})
	if err != nil || len(keys) != 1_001 || keys[1_000] != "many/1000" {
		t.Fatalf("%d, %v", len(keys), err)
	}
	enough := errors.New("enough")
	if err := client.Entries(ctx, "many/", func(Entry) error { return enough }); err != enough {
		t.Fatal(err)
	}
	page, err := client.Page(ctx, "many/", 2, "")
	if err != nil || len(page.Entries) != 2 || page.Cursor == "" {
		t.Fatalf("%+v, %v", page, err)
	}
	results, err = client.Batch(ctx, []Operation{
		GetOperation("many/0007"), DeleteOperation("many/0008"), GetOperation("nothing"),
	}, nil)
	if err != nil || !bytes.Equal(results[0].Entry.Value, []byte{7, 0xff}) || results[1].Written == nil ||
		results[2].Status != 404 || results[2].Problem.Code != CodeUnknownKey {
		t.Fatalf("%+v, %v", results, err)
	}
}

func TestEventsArePublishedListedAndWatched(t *testing.T) {
	_, client := town(t, "ann", "bo")
	ctx := soon(t)
	watch, err := client.Watch(ctx, WatchFilter{EventName: "deploy"}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range [][]byte{[]byte("v1"), {0xff, 0}} {
		published, err := client.Publish(ctx, "deploy", payload)
		if err != nil {
			t.Fatal(err)
		}
		watched := <-watch.C
		if watched.Kind != UserEventHappened || !reflect.DeepEqual(watched.Event, published) {
			t.Fatalf("%+v is not %+v", watched, published)
		}
	}
	events, err := client.Events(ctx, "deploy")
	if err != nil || len(events) != 2 || !bytes.Equal(events[1].Payload, []byte{0xff, 0}) {
		t.Fatalf("%+v, %v", events, err)
	}
	if _, err := client.Publish(ctx, "a\nb", nil); CodeOf(err) != CodeBadEventName {
		t.Fatal(err)
	}
}

func TestAWatchResumesExactlyOnTheSameRunAndSaysWhenItCannot(t *testing.T) {
	nodes, _ := town(t, "ann", "bo")
	ctx := soon(t)
	ann, err := New(nodes[0].client)
	if err != nil {
		t.Fatal(err)
	}
	filter := WatchFilter{SharedPrefix: "w/"}
	within, stop := context.WithCancel(ctx)
	watch, err := ann.Watch(within, filter, "")
	if err != nil {
		t.Fatal(err)
	}
	expect := func(watch *Watch, kind EventKind) Watched {
		t.Helper()
		watched, open := <-watch.C
		if !open || watched.Kind != kind {
			t.Fatalf("%+v instead of %s: %v", watched, kind, watch.Err())
		}
		return watched
	}
	expect(watch, Reset)
	place := expect(watch, Complete).ID
	stop()
	for range watch.C {
	}
	if !errors.Is(watch.Err(), context.Canceled) {
		t.Fatal(watch.Err())
	}
	for _, value := range []string{"1", "2"} {
		if _, err := ann.Put(ctx, "w/k", []byte(value), nil); err != nil {
			t.Fatal(err)
		}
	}
	if watch, err = ann.Watch(ctx, filter, place); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"1", "2"} {
		watched := expect(watch, SharedChanged)
		if watched.Change != Put || string(watched.Entry.Value) != value {
			t.Fatalf("%+v", watched.Entry)
		}
		place = watched.ID
	}
	bo, err := New(nodes[1].client)
	if err != nil {
		t.Fatal(err)
	}
	if watch, err = bo.Watch(ctx, filter, place); err != nil {
		t.Fatal(err)
	}
	expect(watch, Reset)
	if _, err := bo.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	for watched := range watch.C {
		if watched.Kind == Leaving {
			place = ""
		}
	}
	if watch.Err() != nil || place != "" {
		t.Fatal("a node that leaves says so, and that is no error", watch.Err())
	}
}

func TestRequestsAndWatchesGoOnWithAnotherNode(t *testing.T) {
	nodes, client := town(t, "ann", "bo", "cy")
	ctx, stop := context.WithCancel(soon(t))
	defer stop()
	changes := client.Follow(ctx, WatchFilter{AllShared: true}, nil)
	state, resets := map[string]string{}, 0
	apply := func(until func() bool) {
		t.Helper()
		for !until() {
			watched, open := <-changes
			if !open {
				t.Fatal("the follow ended")
			}
			switch watched.Kind {
			case Reset:
				state, resets = map[string]string{}, resets+1
			case SharedChanged:
				state[watched.Entry.Key] = string(watched.Entry.Value)
			}
		}
	}
	put := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if _, err := client.Put(ctx, fmt.Sprint("k", i), []byte(fmt.Sprint(i)), &WriteOptions{Ack: 2}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(0, 50)
	apply(func() bool { return len(state) == 50 })
	// Asked once: the client turns to another as soon as this one is gone.
	answers := client.Address()
	for _, one := range nodes {
		if "http://"+one.client == answers {
			one.kill()
		}
	}
	put(50, 100)
	apply(func() bool { return len(state) == 100 })
	if resets != 2 {
		t.Fatalf("%d resets: one at the begin, one at another node", resets)
	}
	for i := 0; i < 100; i++ {
		if state[fmt.Sprint("k", i)] != fmt.Sprint(i) {
			t.Fatalf("k%d is %q", i, state[fmt.Sprint("k", i)])
		}
	}
}

func TestAddressesAreThoseThatANodeServes(t *testing.T) {
	for given, base := range map[string]string{
		"127.0.0.1:7777": "http://127.0.0.1:7777", "http://localhost:1/": "http://127.0.0.1:1",
		"[::1]:7777": "http://[::1]:7777", "http://10.0.0.7:80": "http://10.0.0.7:80",
	} {
		if got, err := baseURL(given); err != nil || got != base {
			t.Fatalf("%s: %s, %v", given, got, err)
		}
	}
	for _, given := range []string{
		"", "127.0.0.1", "example.org:7777", "https://127.0.0.1:1", "http://127.0.0.1:1/v1", "127.0.0.1:0",
		"127.0.0.1:65536", "user@127.0.0.1:1", ":7777",
	} {
		if _, err := New(given); kindOf(err) != BadAddress {
			t.Fatalf("%q: %v", given, err)
		}
	}
	if _, err := New(); kindOf(err) != BadAddress {
		t.Fatal(err)
	}
}

// impostor answers every request with what a test says.
func impostor(t *testing.T, status int, body string, asked *atomic.Int64) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestWhatMayHaveBeenDoneIsNotDoneAgainUnlessThatIsHarmless(t *testing.T) {
	var stalled, leaving, good atomic.Int64
	problem := func(code string) string { return `{"status":503,"code":"` + code + `","detail":"no"}` }
	event := `{"timestamp":1,"at":"2026-11-25T00:00:00Z","origin":"o","name":"n","payload":""}`
	both := func(first string) *Client {
		client, err := New(first, impostor(t, 200, event, &good))
		if err != nil {
			t.Fatal(err)
		}
		client.nodes.current.Store(0)
		return client
	}
	at := impostor(t, 503, problem("stalled"), &stalled)
	if _, err := both(at).Publish(soon(t), "n", nil); CodeOf(err) != CodeStalled {
		t.Fatal(err)
	}
	if good.Load() != 0 {
		t.Fatal("it may have been published, and was again")
	}
	if _, err := both(at).Events(soon(t), ""); err != nil {
		t.Fatal(err)
	}
	at = impostor(t, 503, problem("leaving"), &leaving)
	if _, err := both(at).Publish(soon(t), "n", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := both("127.0.0.1:1").Publish(soon(t), "n", nil); err != nil {
		t.Fatal(err)
	}
	lonely, err := New(at)
	if err != nil {
		t.Fatal(err)
	}
	before := leaving.Load()
	if _, err := lonely.Self(soon(t)); CodeOf(err) != CodeLeaving || leaving.Load() != before+1 {
		t.Fatal("who has no other to ask is told at once", err)
	}
}

func TestAnswersThatAreNoNodesAreNamed(t *testing.T) {
	var asked atomic.Int64
	for _, answer := range []struct {
		status int
		body   string
		kind   Kind
	}{{200, "<html>", NotUnderstood}, {404, "<html>", NotUnderstood}, {302, "", NotUnderstood}, {500, "{}", NotUnderstood}} {
		client, err := New(impostor(t, answer.status, answer.body, &asked))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Self(soon(t)); kindOf(err) != answer.kind {
			t.Fatalf("%d %q: %v", answer.status, answer.body, err)
		}
		if _, err := client.Watch(soon(t), WatchFilter{}, ""); answer.status != 200 && kindOf(err) != answer.kind {
			t.Fatalf("%d %q: %v", answer.status, answer.body, err)
		}
	}
}

func TestANodeThatDoesNotAnswerIsNotWaitedForLonger(t *testing.T) {
	hangs := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hangs }))
	defer server.Close()
	defer close(hangs)
	client, err := New(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	hasty := client.WithTimeout(50 * time.Millisecond)
	if _, err := hasty.Self(soon(t)); kindOf(err) != Timeout {
		t.Fatal(err)
	}
	if _, err := hasty.Watch(soon(t), WatchFilter{}, ""); kindOf(err) != Timeout {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Self(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestWaitsGrowHaveAnEndAndAreNotAllAlike(t *testing.T) {
	seen := map[time.Duration]bool{}
	for done := 1; done < 40; done++ {
		span := wait(done)
		if span < waitFirst/2 || span > waitMax {
			t.Fatal(done, span)
		}
		seen[span] = true
	}
	if len(seen) < 30 {
		t.Fatal("no jitter", seen)
	}
}

func TestMessagesAreReadWhereverTheyAreCut(t *testing.T) {
	stream := "\ufeff: hi\n\nid: r-1\r\nevent: leaving\r\ndata: {\r\ndata:}\r\n\r\nevent: no data\n\nevent: x\rdata: y\r\r"
	parser := newParser(strings.NewReader(stream))
	for _, expected := range []message{{"leaving", "{\n}", "r-1"}, {"x", "y", "r-1"}} {
		got, err := parser.next()
		if err != nil || got != expected {
			t.Fatalf("%+v is not %+v: %v", got, expected, err)
		}
	}
	if _, err := parser.next(); err == nil {
		t.Fatal("the end is an error")
	}
	endless := newParser(strings.NewReader("data: " + strings.Repeat("x", eventBytesMax+1)))
	if _, err := endless.next(); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Fatal(err)
	}
	if _, err := newParser(strings.NewReader("data: \xff\n\n")).next(); err == nil {
		t.Fatal("not UTF-8")
	}
}

func TestEventsOfTheFutureArePassedOver(t *testing.T) {
	if _, known, err := typed(message{"sun_rose", "{}", ""}); known || err != nil {
		t.Fatal(known, err)
	}
	if _, _, err := typed(message{"shared_changed", "{}", ""}); err == nil {
		t.Fatal("a change without entry")
	}
	for _, kind := range []string{"leader_changed", "view_changed"} {
		if _, _, err := typed(message{kind, "{}", ""}); err == nil {
			t.Fatal(kind, "that tells nothing")
		}
	}
}

func TestEveryCodeHasItsParagraphInTheDocumentationAndBack(t *testing.T) {
	docs, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("errors.go")
	if err != nil {
		t.Fatal(err)
	}
	var described, named []string
	for _, line := range strings.Split(string(docs), "\n") {
		if strings.HasPrefix(line, "### ") {
			described = append(described, strings.TrimPrefix(line, "### "))
		}
	}
	for _, found := range regexp.MustCompile(`Code = "([a-z_]+)"`).FindAllSubmatch(source, -1) {
		named = append(named, string(found[1]))
	}
	if !reflect.DeepEqual(described, named) {
		t.Fatalf("documented: %v\nnamed here: %v", described, named)
	}
}
