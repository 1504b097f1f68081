package dui

import (
	"context"
	"math/rand"
	"sync/atomic"
	"time"
)

// Rounds of all nodes before an error is told.
const rounds = 4

// Wait after the first round; doubles with each.
const (
	waitFirst = 50 * time.Millisecond
	waitMax   = 2 * time.Second
)

// nodes are those of a client, and which of them is asked.
type nodes struct {
	bases   []string
	current atomic.Int64
}

func newNodes(bases []string) *nodes {
	all := &nodes{bases: bases}
	// Many clients of the same nodes begin with different ones.
	all.current.Store(int64(chance() * float64(len(bases))))
	return all
}

func (n *nodes) address() string {
	return n.bases[int(n.current.Load())%len(n.bases)]
}

// turnFrom asks another one from now on, unless somebody has turned away from
// this one already.
func (n *nodes) turnFrom(address string) {
	current := n.current.Load()
	if n.bases[int(current)%len(n.bases)] == address {
		n.current.CompareAndSwap(current, (current+1)%int64(len(n.bases)))
	}
}

// tries are those of one request.
type tries struct {
	nodes  *nodes
	failed int
}

// goOn tells whether to try again after this error, on the node that is
// current then, and returns when it is time to. A client of one node never
// does: who has no other to ask had better know.
func (t *tries) goOn(ctx context.Context, address string, err error, repeatable bool) bool {
	count := len(t.nodes.bases)
	if count < 2 || ctx.Err() != nil || !worthAnother(err, repeatable) {
		return false
	}
	t.nodes.turnFrom(address)
	t.failed++
	if t.failed%count == 0 {
		done := t.failed / count
		return done < rounds && sleep(ctx, wait(done)) == nil
	}
	return true
}

// wait is how long to wait after so many rounds: half of it is chance, so that
// a thousand clients of a node that went away do not come to the next in step.
func wait(done int) time.Duration {
	full := waitFirst
	for i := 1; i < done && full < waitMax; i++ {
		full *= 2
	}
	if full > waitMax {
		full = waitMax
	}
	return full/2 + time.Duration(chance()*float64(full)/2)
}

func sleep(ctx context.Context, span time.Duration) error {
	timer := time.NewTimer(span)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// worthAnother tells whether another node might do better, and asking it does
// no harm.
func worthAnother(err error, repeatable bool) bool {
	switch kindOf(err) {
	case Unreachable:
		return true
	case Timeout, Broken:
		return repeatable
	}
	switch CodeOf(err) {
	case CodeLeaving, CodeStopped, CodeNotReady, CodeTooManyWatchers, CodeTooManyWrites,
		CodeClockAhead, CodeNotStored:
		return true
	case CodeStalled:
		return repeatable
	}
	return false
}

// random is seeded for each process: before Go 1.20 the package's own source
// is not.
var random = func() func() float64 {
	seed := time.Now().UnixNano()
	var next atomic.Int64
	return func() float64 {
		return rand.New(rand.NewSource(seed + next.Add(1)*7919)).Float64()
	}
}()

func chance() float64 { return random() }
