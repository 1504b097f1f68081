package dui

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Entry is a shared entry as the asked node holds it.
type Entry struct {
	Key   string
	Value []byte
	// ContentType as it was sent with the value; empty if none was.
	ContentType string
	// Version names this write; the higher one of a key stays. Compare as text.
	Version   string
	Timestamp uint64
	At        time.Time
	UpdatedBy string
	// TTL is how much longer it lives; 0: until it is deleted.
	TTL time.Duration
}

// UnmarshalJSON reads the API's form: text as it is, other bytes in base64.
func (e *Entry) UnmarshalJSON(data []byte) error {
	var wire struct {
		Key         string    `json:"key"`
		Value       *string   `json:"value"`
		ValueBase64 []byte    `json:"value_base64"`
		ContentType string    `json:"content_type"`
		Version     string    `json:"version"`
		Timestamp   uint64    `json:"timestamp"`
		At          time.Time `json:"at"`
		UpdatedBy   string    `json:"updated_by"`
		TTLMillis   *int64    `json:"ttl_ms"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	*e = Entry{
		Key: wire.Key, Value: bytesOf(wire.Value, wire.ValueBase64), ContentType: wire.ContentType,
		Version: wire.Version, Timestamp: wire.Timestamp, At: wire.At, UpdatedBy: wire.UpdatedBy,
	}
	if wire.TTLMillis != nil {
		// What is about to go has not gone yet.
		e.TTL = time.Millisecond
		if *wire.TTLMillis > 0 {
			e.TTL = time.Duration(*wire.TTLMillis) * time.Millisecond
		}
	}
	return nil
}

// Written is a write that is done: durable at the asked node if it has a data
// directory, and at as many others as was asked for.
type Written struct {
	Key       string    `json:"key"`
	Version   string    `json:"version"`
	Timestamp uint64    `json:"timestamp"`
	At        time.Time `json:"at"`
	UpdatedBy string    `json:"updated_by"`
	// Acked members hold the write durably; the asked node is one of them.
	Acked uint64 `json:"acked"`
}

// AckAll waits for all members that are alive.
const AckAll = -1

// WriteOptions say how sure a write has to be, and how long it lives. The
// zero value, or nil, is a write that the asked node holds and that stays.
type WriteOptions struct {
	// Ack waits until so many members hold the write durably, the asked node
	// among them; 0 and 1: that one alone. AckAll: all that are alive.
	Ack int
	// Timeout bounds the wait for them. Default 5 s, 60 s at most.
	Timeout time.Duration
	// TTL: the entry is gone after this time. Of puts only.
	TTL time.Duration
	// ContentType is kept and given back, byte for byte. Of puts only.
	ContentType string
}

func (o *WriteOptions) onto(path string) string {
	if o == nil {
		return path
	}
	query := url.Values{}
	switch {
	case o.Ack == AckAll:
		query.Set("ack", "all")
	case o.Ack > 0:
		query.Set("ack", strconv.Itoa(o.Ack))
	}
	for name, span := range map[string]time.Duration{"timeout": o.Timeout, "ttl": o.TTL} {
		if span > 0 {
			ms := span.Milliseconds()
			if ms == 0 {
				ms = 1
			}
			query.Set(name, fmt.Sprintf("%dms", ms))
		}
	}
	if len(query) == 0 {
		return path
	}
	if strings.Contains(path, "?") {
		return path + "&" + query.Encode()
	}
	return path + "?" + query.Encode()
}

// patience: the node answers in its own time; a little more is for the way.
func (o *WriteOptions) patience(usual time.Duration) time.Duration {
	own := usual
	if o != nil && o.Timeout > 0 {
		own = o.Timeout
	}
	return own + 4*time.Second
}

// Entry is the shared entry of a key, as the asked node has it; nil, without an
// error, if there is none.
func (c *Client) Entry(ctx context.Context, key string) (*Entry, error) {
	entry, err := get[Entry](ctx, c, pathOf(key))
	if CodeOf(err) == CodeUnknownKey {
		return nil, nil
	}
	return entry, err
}

// Put gives a key a value: the last writer wins, on every node. With several
// nodes it is sent to another one where the first does not answer, and may
// then be written twice: the value is the same, the second version is newer.
func (c *Client) Put(ctx context.Context, key string, value []byte, options *WriteOptions) (*Written, error) {
	request := call{method: http.MethodPut, path: options.onto(pathOf(key)), body: value}
	if options != nil {
		request.contentType = options.ContentType
	}
	return do[Written](ctx, c, request, options.patience(c.timeout))
}

// Delete takes a key's value away; nil, without an error, if there was none.
func (c *Client) Delete(ctx context.Context, key string, options *WriteOptions) (*Written, error) {
	request := call{method: http.MethodDelete, path: options.onto(pathOf(key))}
	written, err := do[Written](ctx, c, request, options.patience(c.timeout))
	if CodeOf(err) == CodeUnknownKey {
		return nil, nil
	}
	return written, err
}

// Page is a part of a list.
type Page struct {
	// Entries by the bytes of their keys.
	Entries []Entry `json:"entries"`
	// Cursor asks for the next page; empty: this is the last one.
	Cursor string `json:"cursor"`
}

// Page gives entries whose keys begin with prefix, at most limit (1 to 1,000;
// 0: as many as the node likes), after the page that cursor comes from.
func (c *Client) Page(ctx context.Context, prefix string, limit int, cursor string) (*Page, error) {
	query := url.Values{}
	for name, value := range map[string]string{"prefix": prefix, "cursor": cursor} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	return get[Page](ctx, c, withQuery("/v1/shared", query))
}

// Entries calls each with every entry whose key begins with prefix, by key,
// however many, and ends early when that gives an error, which it returns.
func (c *Client) Entries(ctx context.Context, prefix string, each func(Entry) error) error {
	cursor := ""
	for {
		page, err := c.Page(ctx, prefix, 1_000, cursor)
		if err != nil {
			return err
		}
		for _, entry := range page.Entries {
			if err := each(entry); err != nil {
				return err
			}
		}
		if cursor = page.Cursor; cursor == "" {
			return nil
		}
	}
}

// Operation is one of a batch; see PutOperation, GetOperation, DeleteOperation.
type Operation struct {
	Op          string  `json:"op"`
	Key         string  `json:"key"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
	ContentType string  `json:"content_type,omitempty"`
	TTLMillis   int64   `json:"ttl_ms,omitempty"`
}

// PutOperation gives a key a value.
func PutOperation(key string, value []byte) Operation {
	if utf8.Valid(value) {
		text := string(value)
		return Operation{Op: "put", Key: key, Value: &text}
	}
	return Operation{Op: "put", Key: key, ValueBase64: value}
}

// GetOperation reads a key.
func GetOperation(key string) Operation { return Operation{Op: "get", Key: key} }

// DeleteOperation takes a key's value away.
func DeleteOperation(key string) Operation { return Operation{Op: "delete", Key: key} }

// BatchResult is what the same request alone would be answered.
type BatchResult struct {
	// Status is the HTTP status that it would have alone.
	Status int `json:"status"`
	// Entry of a get.
	Entry *Entry `json:"entry"`
	// Written of a put or delete.
	Written *Written `json:"written"`
	// Problem tells why it failed.
	Problem *Problem `json:"problem"`
}

// Batch carries out up to 1,000 operations in one request: writes first, in
// their order, then reads; a result for each, in their order.
func (c *Client) Batch(ctx context.Context, operations []Operation, options *WriteOptions) ([]BatchResult, error) {
	body, err := json.Marshal(map[string][]Operation{"operations": operations})
	if err != nil {
		return nil, err
	}
	request := call{
		method: http.MethodPost, path: options.onto("/v1/batch"),
		contentType: "application/json", body: body, repeatable: true,
	}
	results, err := do[struct {
		Results []BatchResult `json:"results"`
	}](ctx, c, request, options.patience(c.timeout))
	if err != nil {
		return nil, err
	}
	return results.Results, nil
}

// pathOf is where an entry is: in the path where that can hold the key. Dots
// alone between slashes are taken for directories on the way.
func pathOf(key string) string {
	for _, part := range strings.Split(key, "/") {
		if part == "" || part == "." || part == ".." {
			return "/v1/shared?key=" + escape(key)
		}
	}
	return "/v1/shared/" + escape(key)
}

// SharedChoice is which shared entries stay when two sides meet that were
// apart for longer than deletions are remembered.
type SharedChoice string

const (
	// Keep both sides' entries: what one has deleted meanwhile comes back with
	// what the other still has. Said on one node.
	Keep SharedChoice = "keep"
	// Discard what the node holds and take the other side's. Said on every
	// node of the side that gives up.
	Discard SharedChoice = "discard"
)

// Recovered is what became of the shared entries that a node held: how many it
// kept, or gave up.
type Recovered struct {
	Shared  SharedChoice `json:"shared"`
	Entries uint64       `json:"entries"`
}
