package dui

import (
	"context"
	"net/http"
	"net/url"
)

// Refounded is a cluster that one manager has founded alone, from what another
// one had agreed on.
type Refounded struct {
	// ClusterID names the new cluster.
	ClusterID string `json:"cluster_id"`
	// RecoveredFrom is the cluster that it goes on for.
	RecoveredFrom string `json:"recovered_from"`
	// RevisionBefore is the revision of the copy that it began with.
	RevisionBefore uint64 `json:"revision_before"`
	// Revision is the fencing token of its first leader: at least 2^40 more.
	Revision uint64 `json:"revision"`
}

// GivenUp tells of a node that is a new one at its next start.
type GivenUp struct {
	// ID is the id that it gives up.
	ID string `json:"id"`
	// Restart: it has to be started again now; always true.
	Restart bool `json:"restart"`
}

// RecoverQuorum is for the permanent loss of a majority of the managers that
// vote: the node, a manager with a copy of what was agreed, founds a new
// cluster alone. Where a majority is alive only with force.
func (c *Client) RecoverQuorum(ctx context.Context, force bool) (*Refounded, error) {
	query := url.Values{"quorum": {"true"}}
	if force {
		query.Set("force", "true")
	}
	return recoverBy[Refounded](ctx, c, query)
}

// RecoverReset has the node give up what it promised as a manager: it is a new
// one once it is started again, which has to follow.
func (c *Client) RecoverReset(ctx context.Context) (*GivenUp, error) {
	return recoverBy[GivenUp](ctx, c, url.Values{"reset": {"true"}})
}

// AbandonFounding has the node give up the proposal to found that it holds.
func (c *Client) AbandonFounding(ctx context.Context) error {
	_, err := recoverBy[struct{}](ctx, c, url.Values{"abandon_founding": {"true"}})
	return err
}

func recoverBy[T any](ctx context.Context, c *Client, query url.Values) (*T, error) {
	path := withQuery("/v1/recover", query)
	return do[T](ctx, c, call{method: http.MethodPost, path: path}, operateTimeout)
}

// Backup gives a copy of everything that the managers agreed on, for Restore:
// confirmed by a majority to be not old. Any node gives it.
func (c *Client) Backup(ctx context.Context) ([]byte, error) {
	copied, err := do[[]byte](ctx, c, call{method: http.MethodGet, path: "/v1/backup"}, operateTimeout)
	if err != nil {
		return nil, err
	}
	return *copied, nil
}

// Restore has the node, a manager that belongs to no cluster, found one alone
// with what is in a backup.
func (c *Client) Restore(ctx context.Context, backup []byte) (*Refounded, error) {
	request := call{
		method:      http.MethodPut,
		path:        "/v1/restore",
		contentType: "application/octet-stream",
		body:        backup,
		never:       true,
	}
	return do[Refounded](ctx, c, request, operateTimeout)
}
