package dui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// The server sends a comment every 15 s, so silence means that it is gone.
const silenceMax = 50 * time.Second

// WatchFilter says what to watch. The zero value watches members, the leader
// and all user events, as the API does.
type WatchFilter struct {
	// Members: changes of members.
	Members bool
	// Leader: who leads, and the numbered views.
	Leader bool
	// AllEvents: every user event. EventName: those of this name.
	AllEvents bool
	EventName string
	// AllShared: changes of all shared entries. SharedPrefix: of those whose
	// keys begin so.
	AllShared    bool
	SharedPrefix string
}

func (f WatchFilter) path() string {
	query := url.Values{}
	if f.Members {
		query.Set("members", "")
	}
	if f.Leader {
		query.Set("leader", "")
	}
	if f.AllEvents || f.EventName != "" {
		query.Set("events", f.EventName)
	}
	if f.AllShared || f.SharedPrefix != "" {
		query.Set("shared", f.SharedPrefix)
	}
	return withQuery("/v1/watch", query)
}

// EventKind is what an event of a watch tells.
type EventKind string

const (
	// Reset carries the present Members: whatever was known before is void,
	// entries included, which follow one by one. Comes first when members, the
	// leader or entries are watched, and whenever the stream cannot go on
	// without a gap.
	Reset EventKind = "reset"
	// MemberAlive to MemberForgotten carry the Member.
	MemberAlive     EventKind = "member_alive"
	MemberSuspect   EventKind = "member_suspect"
	MemberFailed    EventKind = "member_failed"
	MemberLeft      EventKind = "member_left"
	MemberForgotten EventKind = "member_forgotten"
	// LeaderChanged carries the Leader: another one leads, or nobody; or, after
	// a reset, who does.
	LeaderChanged EventKind = "leader_changed"
	// ViewChanged carries the View: the managers have agreed on another one.
	ViewChanged EventKind = "view_changed"
	// UserEventHappened carries the Event.
	UserEventHappened EventKind = "user_event"
	// SharedChanged carries Change and Entry: the entry changed or, between a
	// reset and Complete, is there. What comes later is never older.
	SharedChanged EventKind = "shared_changed"
	// Complete: everything that was watched before the last reset is known.
	Complete EventKind = "complete"
	// Leaving: the watched node is leaving; nothing follows from it.
	Leaving EventKind = "leaving"
)

// ChangeKind is what happened to an entry.
type ChangeKind string

const (
	// Put: it has a new value, or is told of for the first time.
	Put ChangeKind = "put"
	// Deleted: it was deleted.
	Deleted ChangeKind = "deleted"
	// Expired: its time to live ran out.
	Expired ChangeKind = "expired"
)

// Watched is an event of a watch. Kind says which other fields it has.
type Watched struct {
	// ID is where to resume after this event; empty before the first event
	// that has a place.
	ID   string
	Kind EventKind
	// Members of a Reset.
	Members []Member
	// Member of MemberAlive to MemberForgotten, and why it was forgotten.
	Member *Member
	Reason string
	// Leader of LeaderChanged.
	Leader *Leader
	// View of ViewChanged.
	View *View
	// Event of UserEventHappened.
	Event *UserEvent
	// Change and Entry of SharedChanged.
	Change ChangeKind
	Entry  *Entry
}

// Watch is one node's events, in order, until that leaves.
type Watch struct {
	// C gives the events. It is closed after Leaving, after an error, and when
	// the context is done; Err tells which.
	C       <-chan Watched
	address string
	mutex   sync.Mutex
	err     error
}

// Err tells why C was closed: nil after Leaving, the context's error, or what
// went wrong. Call it once C is closed.
func (w *Watch) Err() error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.err
}

// Watch tells what happens from now on, or from just after lastEventID (the ID
// of an earlier event) when the same process still knows what followed;
// otherwise it begins with Reset. Events of a kind that this version does not
// know are passed over. It ends with the context, which a reader that stops
// reading early has to cancel.
func (c *Client) Watch(ctx context.Context, filter WatchFilter, lastEventID string) (*Watch, error) {
	request := call{method: http.MethodGet, path: filter.path(), lastEventID: lastEventID}
	tries := tries{nodes: c.nodes}
	for {
		address := c.nodes.address()
		watch, err := c.watchOnce(ctx, request, address)
		if err == nil || !tries.goOn(ctx, address, err, true) {
			return watch, err
		}
	}
}

func (c *Client) watchOnce(ctx context.Context, request call, address string) (*Watch, error) {
	within, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(c.timeout, cancel)
	response, err := c.send(within, request, address, c.timeout)
	if !late.Stop() && ctx.Err() == nil {
		if err == nil {
			response.Body.Close()
		}
		return nil, &Error{Kind: Timeout, Address: address, Why: c.timeout.String(), err: context.DeadlineExceeded}
	}
	if err != nil {
		cancel()
		return nil, err
	}
	events := make(chan Watched)
	watch := &Watch{C: events, address: address}
	go watch.read(ctx, cancel, response, events)
	return watch, nil
}

func (w *Watch) read(ctx context.Context, cancel context.CancelFunc, response *http.Response, events chan<- Watched) {
	err := w.readAll(ctx, cancel, response, events)
	cancel()
	response.Body.Close()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	w.mutex.Lock()
	w.err = err
	w.mutex.Unlock()
	close(events)
}

func (w *Watch) readAll(ctx context.Context, cancel context.CancelFunc, response *http.Response, events chan<- Watched) error {
	silence := time.AfterFunc(silenceMax, cancel)
	defer silence.Stop()
	parser := newParser(restarts{response.Body, silence})
	for {
		message, err := parser.next()
		if err != nil {
			return &Error{Kind: Broken, Address: w.address, Why: "the stream ended without a goodbye: " + err.Error(), err: err}
		}
		watched, known, err := typed(message)
		if err != nil {
			why := fmt.Sprintf("event %s: %v", message.event, err)
			return &Error{Kind: NotUnderstood, Address: w.address, Why: why, err: err}
		}
		if !known {
			continue
		}
		// A reader may take its time; the silence is the server's.
		silence.Stop()
		select {
		case events <- watched:
		case <-ctx.Done():
			return ctx.Err()
		}
		silence.Reset(silenceMax)
		if watched.Kind == Leaving {
			return nil
		}
	}
}

// restarts a timer with whatever is read.
type restarts struct {
	body  interface{ Read([]byte) (int, error) }
	timer *time.Timer
}

func (r restarts) Read(buffer []byte) (int, error) {
	n, err := r.body.Read(buffer)
	r.timer.Reset(silenceMax)
	return n, err
}

// typed is the event in a message; false for one of a kind not known here.
func typed(m message) (Watched, bool, error) {
	watched := Watched{ID: m.id, Kind: EventKind(m.event)}
	data := []byte(m.data)
	var err error
	switch watched.Kind {
	case Reset:
		var list struct {
			Members []Member `json:"members"`
		}
		err = json.Unmarshal(data, &list)
		watched.Members = list.Members
	case MemberAlive, MemberSuspect, MemberFailed, MemberLeft, MemberForgotten:
		var member struct {
			Member
			Reason string `json:"reason"`
		}
		err = json.Unmarshal(data, &member)
		watched.Member, watched.Reason = &member.Member, member.Reason
	case LeaderChanged:
		watched.Leader = new(Leader)
		err = json.Unmarshal(data, watched.Leader)
		if err == nil && watched.Leader.State == "" {
			err = errors.New("no state")
		}
	case ViewChanged:
		watched.View = new(View)
		err = json.Unmarshal(data, watched.View)
		if err == nil && watched.View.Number == 0 {
			err = errors.New("no number")
		}
	case UserEventHappened:
		watched.Event = new(UserEvent)
		err = json.Unmarshal(data, watched.Event)
	case SharedChanged:
		var change struct {
			Change ChangeKind `json:"change"`
			Entry  *Entry     `json:"entry"`
		}
		err = json.Unmarshal(data, &change)
		watched.Change, watched.Entry = change.Change, change.Entry
		if err == nil && change.Entry == nil {
			err = errors.New("no entry")
		}
	case Complete, Leaving:
	default:
		return Watched{}, false, nil
	}
	return watched, true, err
}

// Follow tells what happens for as long as the context lives, on another node
// when the watched one is gone: it comes back with the ID of the last event
// that it saw. The same process goes on from there, without a gap; any other
// begins with Reset. Where no node can be watched it keeps trying, a little
// later each time; failed, if not nil, is told why, and ends the follow by
// returning false. The channel is closed in the end.
func (c *Client) Follow(ctx context.Context, filter WatchFilter, failed func(error) bool) <-chan Watched {
	events := make(chan Watched)
	go func() {
		defer close(events)
		lastID, failures := "", 0
		for ctx.Err() == nil {
			if failures > 0 && sleep(ctx, wait(failures)) != nil {
				return
			}
			watch, err := c.Watch(ctx, filter, lastID)
			if err != nil {
				failures++
				if ctx.Err() == nil && failed != nil && !failed(err) {
					return
				}
				continue
			}
			for watched := range watch.C {
				failures = 0
				if watched.Kind != Leaving {
					lastID = watched.ID
				}
				select {
				case events <- watched:
				case <-ctx.Done():
				}
			}
			if err := watch.Err(); errors.Is(err, context.Canceled) && ctx.Err() != nil {
				return
			}
			c.nodes.turnFrom(watch.address)
			failures++
		}
	}()
	return events
}
