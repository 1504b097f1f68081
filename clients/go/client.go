package dui

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// DefaultTimeout is the wait for one answer unless told otherwise.
	DefaultTimeout = 5 * time.Second
	// The node itself bounds a leave by its --leave-timeout.
	leaveTimeout = 120 * time.Second
	// An examination takes three to eight seconds, more where names are
	// looked up or other clusters are examined, too.
	doctorTimeout = 60 * time.Second
	// 1,024 events of 8 KiB, each byte escaped by JSON, fit.
	answerBytesMax = 64 << 20
)

// Client is a client of one node, or of several that stand in for one another.
type Client struct {
	http    *http.Client
	nodes   *nodes
	timeout time.Duration
}

// New is a client of the nodes at these addresses, at least one: IP:PORT or
// localhost:PORT, with or without http://. Nothing is sent yet. The error is
// an *Error of kind BadAddress.
func New(addresses ...string) (*Client, error) {
	if len(addresses) == 0 {
		return nil, &Error{Kind: BadAddress, Why: "give at least one"}
	}
	var bases []string
	for _, address := range addresses {
		base, err := baseURL(address)
		if err != nil {
			return nil, err
		}
		bases = append(bases, base)
	}
	dialer := &net.Dialer{Timeout: DefaultTimeout}
	transport := &http.Transport{
		DialContext:         dialer.DialContext,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     20 * time.Second,
		// No proxy of the environment: nodes are called by IP.
		Proxy: nil,
	}
	return &Client{
		http:    &http.Client{Transport: transport, CheckRedirect: noRedirect},
		nodes:   newNodes(bases),
		timeout: DefaultTimeout,
	}, nil
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// WithTimeout is the same client, sharing connections, that waits this long
// for each answer instead of DefaultTimeout.
func (c *Client) WithTimeout(timeout time.Duration) *Client {
	other := *c
	other.timeout = timeout
	return &other
}

// Address is the base URL of the node that is asked now: http://IP:PORT.
func (c *Client) Address() string { return c.nodes.address() }

// Self is the node about itself.
func (c *Client) Self(ctx context.Context) (*SelfInfo, error) {
	return get[SelfInfo](ctx, c, "/v1/self")
}

// Members are those in these states, sorted by name; in every state when none
// is given.
func (c *Client) Members(ctx context.Context, states ...MemberState) ([]Member, error) {
	var words []string
	for _, state := range states {
		words = append(words, string(state))
	}
	query := url.Values{}
	if len(words) > 0 {
		query.Set("state", strings.Join(words, ","))
	}
	list, err := get[struct {
		Members []Member `json:"members"`
	}](ctx, c, withQuery("/v1/members", query))
	if err != nil {
		return nil, err
	}
	return list.Members, nil
}

// Member is one member, by id or by name.
func (c *Client) Member(ctx context.Context, idOrName string) (*Member, error) {
	return get[Member](ctx, c, memberPath(idOrName, ""))
}

// Why tells why a member is in its state, as the node knows it.
func (c *Client) Why(ctx context.Context, idOrName string) (*Why, error) {
	return get[Why](ctx, c, memberPath(idOrName, "/why"))
}

// Discovery tells which provider found whom.
func (c *Client) Discovery(ctx context.Context) (*Discovery, error) {
	return get[Discovery](ctx, c, "/v1/discovery")
}

// Doctor tells why nodes do not find each other: the node examines the peers
// that it knows of, and those at these places (HOST[:PORT]). Takes seconds.
func (c *Client) Doctor(ctx context.Context, join ...string) (*Diagnosis, error) {
	query := url.Values{}
	if len(join) > 0 {
		query.Set("join", strings.Join(join, ","))
	}
	request := call{method: http.MethodPost, path: withQuery("/v1/doctor", query)}
	return do[Diagnosis](ctx, c, request, doctorTimeout)
}

// Publish sends an event to every node: a name of 1 to 128 bytes without
// control characters, a payload of at most 8 KiB. Never sent twice: where it
// is unknown whether it went out, the error says so.
func (c *Client) Publish(ctx context.Context, name string, payload []byte) (*UserEvent, error) {
	request := call{
		method: http.MethodPost, path: "/v1/events/" + escape(name),
		contentType: "application/octet-stream", body: payload,
	}
	return do[UserEvent](ctx, c, request, c.timeout)
}

// Events are those still kept, oldest first; with a name only those.
func (c *Client) Events(ctx context.Context, name string) ([]UserEvent, error) {
	path := "/v1/events"
	if name != "" {
		path += "/" + escape(name)
	}
	list, err := get[struct {
		Events []UserEvent `json:"events"`
	}](ctx, c, path)
	if err != nil {
		return nil, err
	}
	return list.Events, nil
}

// Leave makes the node leave its cluster and waits until it has. Idempotent:
// the node stays up in state left until it is stopped.
func (c *Client) Leave(ctx context.Context) (*LeaveOutcome, error) {
	request := call{method: http.MethodPost, path: "/v1/leave"}
	return do[LeaveOutcome](ctx, c, request, leaveTimeout)
}

// Forget removes a member for good and gives it as it was last seen. A member
// that is alive or suspected only with force.
func (c *Client) Forget(ctx context.Context, idOrName string, force bool) (*Member, error) {
	query := url.Values{}
	if force {
		query.Set("force", "true")
	}
	path := withQuery(memberPath(idOrName, "/forget"), query)
	return do[Member](ctx, c, call{method: http.MethodPost, path: path}, c.timeout)
}

// RecoverShared decides which shared entries stay after a parting for longer
// than deletions are remembered.
func (c *Client) RecoverShared(ctx context.Context, choice SharedChoice) (*Recovered, error) {
	path := withQuery("/v1/recover", url.Values{"shared": {string(choice)}})
	return do[Recovered](ctx, c, call{method: http.MethodPost, path: path}, c.timeout)
}

// Probe is a question that the health port answers.
type Probe string

const (
	// Live: the main loop turns.
	Live Probe = "/healthz"
	// Started: the sockets are bound.
	Started Probe = "/startupz"
	// Ready: not leaving, a peer or a discovery window was seen, and a leader
	// is known where others were expected to found with.
	Ready Probe = "/readyz"
)

// Probe asks the health port; the client's address has to be that port's. The
// error is a *Problem with the reason when the answer is no.
func (c *Client) Probe(ctx context.Context, probe Probe) error {
	_, err := get[struct{}](ctx, c, string(probe))
	return err
}

// call is a request as any node could be asked it.
type call struct {
	method, path string
	contentType  string
	lastEventID  string
	body         []byte
	// Doing it twice is doing it once; GET, PUT and DELETE always are
	// (RFC 9110, section 9.2.2).
	repeatable bool
	// Whatever the method says.
	never bool
}

func (r call) isRepeatable() bool {
	if r.never {
		return false
	}
	return r.repeatable || r.method == http.MethodGet || r.method == http.MethodPut || r.method == http.MethodDelete
}

func get[T any](ctx context.Context, c *Client, path string) (*T, error) {
	return do[T](ctx, c, call{method: http.MethodGet, path: path}, c.timeout)
}

// do gives the answer to a call, from whichever node gives one.
func do[T any](ctx context.Context, c *Client, request call, timeout time.Duration) (*T, error) {
	tries := tries{nodes: c.nodes}
	for {
		address := c.nodes.address()
		answer, err := once[T](ctx, c, request, address, timeout)
		if err == nil || !tries.goOn(ctx, address, err, request.isRepeatable()) {
			return answer, err
		}
	}
}

func once[T any](ctx context.Context, c *Client, request call, address string, timeout time.Duration) (*T, error) {
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	response, err := c.send(within, request, address, timeout)
	if err != nil {
		return nil, err
	}
	body, err := readAll(response, address, timeout)
	if err != nil {
		return nil, err
	}
	answer := new(T)
	if raw, is := any(answer).(*[]byte); is {
		*raw = body
		return answer, nil
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return nil, &Error{Kind: NotUnderstood, Address: address, Why: err.Error(), err: err}
	}
	return answer, nil
}

// send gives the response if it tells of success, otherwise the problem that
// it describes. The caller closes the body.
func (c *Client) send(ctx context.Context, request call, address string, timeout time.Duration) (*http.Response, error) {
	out, err := http.NewRequestWithContext(ctx, request.method, address+request.path, bytes.NewReader(request.body))
	if err != nil {
		return nil, &Error{Kind: BadAddress, Address: address, Why: err.Error(), err: err}
	}
	if request.contentType != "" {
		out.Header.Set("Content-Type", request.contentType)
	}
	if request.lastEventID != "" {
		out.Header.Set("Last-Event-ID", request.lastEventID)
	}
	response, err := c.http.Do(out)
	if err != nil {
		return nil, failure(err, address, timeout)
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	body, err := readAll(response, address, timeout)
	if err != nil {
		return nil, err
	}
	problem := new(Problem)
	if err := json.Unmarshal(body, problem); err != nil || problem.Code == "" {
		return nil, &Error{Kind: NotUnderstood, Address: address, Why: "status " + strconv.Itoa(response.StatusCode)}
	}
	return nil, problem
}

func readAll(response *http.Response, address string, timeout time.Duration) ([]byte, error) {
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, answerBytesMax+1))
	if err != nil {
		return nil, failure(err, address, timeout)
	}
	if len(body) > answerBytesMax {
		return nil, &Error{Kind: NotUnderstood, Address: address, Why: fmt.Sprintf("an answer of more than %d bytes", answerBytesMax)}
	}
	return body, nil
}

// failure is what went wrong below HTTP, and what it may have done.
func failure(err error, address string, timeout time.Duration) error {
	var dial *net.OpError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial" || errors.Is(err, syscall.ECONNREFUSED):
		return &Error{Kind: Unreachable, Address: address, Why: rootCause(err), err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Kind: Timeout, Address: address, Why: timeout.String(), err: err}
	default:
		return &Error{Kind: Broken, Address: address, Why: rootCause(err), err: err}
	}
}

// rootCause is what the system said in the end; the layers above only say
// that it did.
func rootCause(err error) string {
	for {
		deeper := errors.Unwrap(err)
		if deeper == nil {
			return err.Error()
		}
		err = deeper
	}
}

// baseURL is http://IP:PORT of whatever form was given.
func baseURL(given string) (string, error) {
	bad := func(why string) (string, error) {
		return "", &Error{Kind: BadAddress, Address: given, Why: why}
	}
	text := strings.TrimRight(given, "/")
	if scheme, rest, found := strings.Cut(text, "://"); found {
		if scheme != "http" {
			return bad("only http:// is spoken so far")
		}
		text = rest
	}
	if strings.ContainsAny(text, "/?#@ ") {
		return bad("give it without a path")
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return bad("give IP:PORT or http://IP:PORT")
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		return bad("give it with a port")
	}
	if strings.EqualFold(host, "localhost") {
		host = "127.0.0.1"
	}
	if net.ParseIP(host) == nil {
		return bad("address the node by IP or as localhost")
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

// escape makes text one segment of a path, or one value of a query.
func escape(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

func withQuery(path string, query url.Values) string {
	if len(query) == 0 {
		return path
	}
	return path + "?" + strings.ReplaceAll(query.Encode(), "+", "%20")
}

func memberPath(idOrName, rest string) string {
	return "/v1/members/" + escape(idOrName) + rest
}
