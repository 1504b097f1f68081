package dui

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// The leader has its own time for what it is asked to do; a little more is
// for the way, and for the news of it.
const operateTimeout = 20 * time.Second

// LeaderState tells whether anybody leads.
type LeaderState string

const (
	// Led: somebody leads.
	Led LeaderState = "led"
	// Electing: the cluster is formed, and nobody leads now.
	Electing LeaderState = "electing"
	// Unformed: there is no formed cluster.
	Unformed LeaderState = "unformed"
)

// Leader is who leads, as one node knows. ID, Name and Address are nil when
// nobody does; Term, ClusterID and Revision stay those last known.
type Leader struct {
	ID        *string `json:"id"`
	Name      *string `json:"name"`
	Address   *string `json:"address"`
	Term      *uint64 `json:"term"`
	ClusterID *string `json:"cluster_id"`
	// Revision is the fencing token: the one at which the latest leader was
	// elected. It never goes back, not even when the cluster is recovered.
	Revision *uint64     `json:"revision"`
	State    LeaderState `json:"state"`
	// Why tells why nobody leads, and what to do; empty when somebody does.
	Why string `json:"why"`
}

// ViewMember is a member of a view.
type ViewMember struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"`
	Role    string `json:"role"`
}

// View is a numbered change of the members, as the managers have agreed on it:
// the same in the same order on every node. Left and Failed are ids.
type View struct {
	ClusterID string `json:"cluster_id"`
	// Number counts from 1, without gaps.
	Number   uint64       `json:"number"`
	Revision uint64       `json:"revision"`
	Joined   []ViewMember `json:"joined"`
	Left     []string     `json:"left"`
	Failed   []string     `json:"failed"`
}

// ViewList is what a node keeps of the views, oldest first, and all members of
// the newest. ClusterID is nil before the cluster is formed.
type ViewList struct {
	ClusterID *string      `json:"cluster_id"`
	Views     []View       `json:"views"`
	Members   []ViewMember `json:"members"`
}

// Part is what a manager does among the managers.
type Part string

// The parts. Only managers with a part of their own know who learns.
const (
	PartLeader  Part = "leader"
	PartVoter   Part = "voter"
	PartLearner Part = "learner"
	PartStandby Part = "standby"
)

// Manager is a member that may vote. Durable and Matched are nil where the
// asked node does not know; only the leader knows how far each has come.
type Manager struct {
	ID      string      `json:"id"`
	Name    string      `json:"name"`
	Address string      `json:"address"`
	State   MemberState `json:"state"`
	Part    Part        `json:"part"`
	Durable *bool       `json:"durable"`
	Matched *uint64     `json:"matched"`
}

// ManagerList is the managers in every state, sorted by name. Changing: those
// who vote are changing, as far as the asked node knows.
type ManagerList struct {
	Managers  []Manager `json:"managers"`
	ClusterID *string   `json:"cluster_id"`
	Changing  bool      `json:"changing"`
}

// Leader tells who leads, as the node knows it.
func (c *Client) Leader(ctx context.Context) (*Leader, error) {
	return get[Leader](ctx, c, "/v1/leader")
}

// Views are the numbered views that are still kept, oldest first, after this
// number; 0: all.
func (c *Client) Views(ctx context.Context, after uint64) (*ViewList, error) {
	query := url.Values{}
	if after > 0 {
		query.Set("after", strconv.FormatUint(after, 10))
	}
	return get[ViewList](ctx, c, withQuery("/v1/views", query))
}

// Managers tells who votes, who may, and how far each has come.
func (c *Client) Managers(ctx context.Context) (*ManagerList, error) {
	return get[ManagerList](ctx, c, "/v1/managers")
}

// Promote lets a manager vote again that was demoted, and gives it as it is
// now: it votes once it has all records and a seat is free.
func (c *Client) Promote(ctx context.Context, idOrName string) (*Manager, error) {
	return operate[Manager](ctx, c, managerPath(idOrName, "/promote"))
}

// Demote has a manager stand by, and gives it as it is now: it votes no more
// once another one has taken its seat, or it is not needed.
func (c *Client) Demote(ctx context.Context, idOrName string) (*Manager, error) {
	return operate[Manager](ctx, c, managerPath(idOrName, "/demote"))
}

// MoveLeader has a manager that votes lead, and waits until it does.
func (c *Client) MoveLeader(ctx context.Context, to string) (*Leader, error) {
	return operate[Leader](ctx, c, withQuery("/v1/leader", url.Values{"to": {to}}))
}

// What an operator says twice is said once.
func operate[T any](ctx context.Context, c *Client, path string) (*T, error) {
	request := call{method: http.MethodPost, path: path, repeatable: true}
	return do[T](ctx, c, request, operateTimeout)
}

func managerPath(idOrName, rest string) string {
	return "/v1/managers/" + escape(idOrName) + rest
}
