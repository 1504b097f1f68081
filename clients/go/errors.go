package dui

import (
	"errors"
	"fmt"
)

// Kind tells what a failed request may have done.
type Kind int

const (
	// BadAddress: the address cannot be used. Nothing was sent.
	BadAddress Kind = iota + 1
	// Unreachable: nothing answers there. Nothing was changed.
	Unreachable
	// Timeout: no answer in time. Whether the request was carried out is unknown.
	Timeout
	// Broken: the connection broke off. Whether the request was carried out is unknown.
	Broken
	// NotUnderstood: the answer is none of a node of this version.
	NotUnderstood
)

// Error is a request that got no answer of a node. What the node itself
// refused is a *Problem instead.
type Error struct {
	Kind Kind
	// Address is the base URL that was asked, or what was given as one.
	Address string
	// Why is what the system said, or what is wrong.
	Why string
	err error
}

func (e *Error) Error() string {
	switch e.Kind {
	case BadAddress:
		return fmt.Sprintf("'%s' is not an address of a node: %s, for example http://127.0.0.1:7777", e.Address, e.Why)
	case Unreachable:
		return fmt.Sprintf("no node answers at %s (%s): is dui running? start it with \"dui run\"", e.Address, e.Why)
	case Timeout:
		return fmt.Sprintf("the node at %s did not answer within %s: it may be overloaded or stopped; try again, or ask another node", e.Address, e.Why)
	case Broken:
		return fmt.Sprintf("the connection to %s broke off (%s): try again", e.Address, e.Why)
	default:
		return fmt.Sprintf("%s answers, but not as a dui node does (%s): check the address and the port", e.Address, e.Why)
	}
}

// Unwrap gives what lies below, such as a net.OpError or the context's error.
func (e *Error) Unwrap() error { return e.err }

// Problem is an error answer of a node, application/problem+json (RFC 9457).
type Problem struct {
	// Type is where the error is explained.
	Type string `json:"type"`
	// Title is the same for every error of one code.
	Title string `json:"title"`
	// Status is the HTTP status.
	Status int `json:"status"`
	// Detail says what is wrong with this very request, and what to do.
	Detail string `json:"detail"`
	// Code is a stable word for programs, see docs/errors.md.
	Code Code `json:"code"`
	// IDs, with CodeAmbiguousName: the ids that carry the name.
	IDs []string `json:"ids,omitempty"`
	// Acked, with CodeAckTimeout: how many members hold the write durably so far.
	Acked *uint64 `json:"acked,omitempty"`
}

func (p *Problem) Error() string { return p.Detail }

// Code is a stable word for an error of a node; docs/errors.md explains each.
type Code string

// The codes that a node answers with.
const (
	CodeBadParameter     Code = "bad_parameter"
	CodeBadEventName     Code = "bad_event_name"
	CodeBadKey           Code = "bad_key"
	CodeBadContentType   Code = "bad_content_type"
	CodeBadCursor        Code = "bad_cursor"
	CodeConditionalWrite Code = "conditional_write"
	CodeBadBackup        Code = "bad_backup"
	CodeBadRequest       Code = "bad_request"
	CodeForbiddenHost    Code = "forbidden_host"
	CodeForbiddenOrigin  Code = "forbidden_origin"
	CodeRemoteForbidden  Code = "remote_forbidden"
	CodeUnknownPath      Code = "unknown_path"
	CodeUnknownMember    Code = "unknown_member"
	CodeUnknownKey       Code = "unknown_key"
	CodeWrongMethod      Code = "wrong_method"
	CodeAmbiguousName    Code = "ambiguous_name"
	CodeMemberAlive      Code = "member_alive"
	CodeForgetSelf       Code = "forget_self"
	CodeNotParted        Code = "not_parted"
	CodeNotAManager      Code = "not_a_manager"
	CodeNotAVoter        Code = "not_a_voter"
	CodeNoQuorum         Code = "no_quorum"
	CodeHasQuorum        Code = "has_quorum"
	CodeHasCluster       Code = "has_cluster"
	CodeNoCopy           Code = "no_copy"
	CodeNoDataDir        Code = "no_data_dir"
	CodeNotFounding      Code = "not_founding"
	CodeBusy             Code = "busy"
	CodeBodyTooLarge     Code = "body_too_large"
	CodeInternal         Code = "internal"
	CodeClockAhead       Code = "clock_ahead"
	CodeLeaving          Code = "leaving"
	CodeLogStopped       Code = "log_stopped"
	CodeNoAnswer         Code = "no_answer"
	CodeNoLeader         Code = "no_leader"
	CodeNotDone          Code = "not_done"
	CodeNotLeader        Code = "not_leader"
	CodeNotMoved         Code = "not_moved"
	CodeNotReady         Code = "not_ready"
	CodeOtherCluster     Code = "other_cluster"
	CodeStalled          Code = "stalled"
	CodeStopped          Code = "stopped"
	CodeTooManyWatchers  Code = "too_many_watchers"
	CodeTooManyWrites    Code = "too_many_writes"
	CodeAckTimeout       Code = "ack_timeout"
	CodeEntriesFull      Code = "entries_full"
	CodeNotStored        Code = "not_stored"
)

// CodeOf is the code with which a node refused; empty if none did.
func CodeOf(err error) Code {
	var problem *Problem
	if errors.As(err, &problem) {
		return problem.Code
	}
	return ""
}

func kindOf(err error) Kind {
	var failed *Error
	if errors.As(err, &failed) {
		return failed.Kind
	}
	return 0
}
