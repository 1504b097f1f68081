package dui

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	changes = 10_000
	writers = 8
)

// Each writer puts keys of its own; of every ten changes the ninth overwrites
// and the tenth deletes an earlier one.
func change(ctx context.Context, client *Client, writer, number int) error {
	key := func(number int) string { return fmt.Sprintf("soak/%d/%05d", writer, number) }
	// What one node alone holds in memory dies with it.
	safe := &WriteOptions{Ack: 2}
	var err error
	switch number % 10 {
	case 8:
		_, err = client.Put(ctx, key(number-8), []byte(fmt.Sprint("again ", number)), safe)
	case 9:
		_, err = client.Delete(ctx, key(number-8), safe)
	default:
		_, err = client.Put(ctx, key(number), []byte(fmt.Sprint(number)), safe)
	}
	return err
}

func TestTenThousandChangesWatchedThroughAKilledNodeEndInTheSameState(t *testing.T) {
	nodes, writing := town(t, "ann", "bo", "cy")
	ctx, stop := context.WithTimeout(context.Background(), 180*time.Second)
	defer stop()
	var addresses []string
	for _, one := range nodes {
		addresses = append(addresses, one.client)
	}
	watching, err := New(addresses...)
	if err != nil {
		t.Fatal(err)
	}

	var mutex sync.Mutex
	state := map[string]Entry{}
	told, resets, repeated, before := 0, 0, 0, 0
	versions := map[string]string{}
	whole := false
	events := watching.Follow(ctx, WatchFilter{SharedPrefix: "soak/"}, nil)
	go func() {
		for watched := range events {
			mutex.Lock()
			switch watched.Kind {
			case Reset:
				resets++
				before += len(versions)
				state, versions, whole = map[string]Entry{}, map[string]string{}, false
			case Complete:
				whole = true
			case SharedChanged:
				told++
				key := watched.Entry.Key
				// Until all is told what is there may be told once more,
				// but never what was there before.
				last := versions[key]
				if watched.Entry.Version < last || whole && watched.Entry.Version == last {
					repeated++
				}
				versions[key] = watched.Entry.Version
				if watched.Change == Put {
					state[key] = *watched.Entry
				} else {
					delete(state, key)
				}
			}
			mutex.Unlock()
		}
	}()
	eventually(t, "the watch knows all there is", func() bool {
		mutex.Lock()
		defer mutex.Unlock()
		return whole
	})

	var done atomic.Int64
	var group sync.WaitGroup
	began := time.Now()
	for writer := 0; writer < writers; writer++ {
		group.Add(1)
		go func(writer int) {
			defer group.Done()
			for number := 0; number < changes/writers; number++ {
				if err := change(ctx, writing, writer, number); err != nil {
					t.Errorf("writer %d, change %d: %v", writer, number, err)
					return
				}
				done.Add(1)
			}
		}(writer)
	}
	eventually(t, "half of the changes are made", func() bool { return done.Load() >= changes/2 })
	watched := watching.Address()
	var left []*node
	for _, one := range nodes {
		if "http://"+one.client == watched {
			one.kill()
			t.Logf("%s, the watched node, was killed after %d changes", one.name, done.Load())
		} else {
			left = append(left, one)
		}
	}
	group.Wait()
	took := time.Since(began)
	if len(left) != 2 || t.Failed() {
		t.Fatalf("%d nodes left", len(left))
	}

	for _, one := range left {
		client, err := New(one.client)
		if err != nil {
			t.Fatal(err)
		}
		var differs string
		eventually(t, "the watch ends in the state of "+one.name, func() bool {
			held := map[string]Entry{}
			if err := client.Entries(ctx, "soak/", func(entry Entry) error {
				held[entry.Key] = entry
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			mutex.Lock()
			defer mutex.Unlock()
			differs = difference(state, held)
			return whole && differs == ""
		})
		if differs != "" {
			t.Fatal(differs)
		}
	}
	mutex.Lock()
	defer mutex.Unlock()
	t.Logf("%d changes by %d writers in %.1f s, %d events told, %d resets, %d told twice by one node, %d entries in the end",
		done.Load(), writers, took.Seconds(), told, resets, repeated, len(state))
	if expected := changes / 10 * 7; len(state) != expected {
		t.Errorf("%d entries in the end, not %d: a change was lost", len(state), expected)
	}
	if resets != 2 {
		t.Errorf("%d resets: one at the begin and one at another node", resets)
	}
	if repeated != 0 {
		t.Errorf("%d changes were told twice, or after a newer one", repeated)
	}
	if told+before < changes/10*7 {
		t.Errorf("only %d events for %d changes", told, changes)
	}
}

func difference(watched, held map[string]Entry) string {
	for key, entry := range held {
		if other, there := watched[key]; !there || !bytes.Equal(other.Value, entry.Value) || other.Version != entry.Version {
			return fmt.Sprintf("%s is %+v, and was told as %+v", key, entry, other)
		}
	}
	if len(watched) != len(held) {
		return fmt.Sprintf("%d entries were told, %d are there", len(watched), len(held))
	}
	return ""
}
