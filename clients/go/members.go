package dui

import (
	"encoding/json"
	"time"
)

// MemberState is how a member is, in the eyes of the node that was asked.
type MemberState string

// The states of a member. Leaving is chosen, failing is observed.
const (
	Alive   MemberState = "alive"
	Suspect MemberState = "suspect"
	Failed  MemberState = "failed"
	Left    MemberState = "left"
)

// Member is a node as others see it. Two nodes may differ for a moment;
// Incarnation tells which of two states of one id is newer.
type Member struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Role        string            `json:"role"`
	Address     string            `json:"address"`
	State       MemberState       `json:"state"`
	Incarnation uint64            `json:"incarnation"`
	Messages    uint64            `json:"messages"`
	Version     string            `json:"version"`
	Tags        map[string]string `json:"tags"`
	// RTTMillis is the round trip in ms; nil before the first was measured.
	RTTMillis *float64 `json:"rtt_ms"`
	// Since is when it came to be in this state, as far as the node knows.
	Since time.Time `json:"since"`
}

// SelfInfo is a node about itself.
type SelfInfo struct {
	Member
	Cluster        string  `json:"cluster"`
	Run            string  `json:"run"`
	MessageCounter uint64  `json:"message_counter"`
	Revision       uint64  `json:"revision"`
	Key            *string `json:"key"`
	Awareness      uint32  `json:"awareness"`
	View           string  `json:"view"`
	Leaving        bool    `json:"leaving"`
	ClientAddress  string  `json:"client_address"`
	HealthAddress  string  `json:"health_address"`
}

// Why is a member and its story, as one node knows it.
type Why struct {
	Member    Member     `json:"member"`
	Awareness uint32     `json:"awareness"`
	Story     []WhyEntry `json:"story"`
}

// WhyEntry is a line of a story.
type WhyEntry struct {
	At     time.Time `json:"at"`
	What   string    `json:"what"`
	By     *string   `json:"by"`
	Detail string    `json:"detail"`
}

// LeaveOutcome is how a leave went: Acked of Wanted peers confirmed it.
type LeaveOutcome struct {
	State  MemberState `json:"state"`
	Acked  uint64      `json:"acked"`
	Wanted uint64      `json:"wanted"`
}

// Discovery tells which provider found whom, and which peers are lost.
type Discovery struct {
	Providers []ProviderInfo `json:"providers"`
	Lost      []string       `json:"lost"`
}

// ProviderInfo is one way to find nodes. State is working, waiting or failing.
type ProviderInfo struct {
	Name   string     `json:"name"`
	Detail string     `json:"detail"`
	State  string     `json:"state"`
	Error  *string    `json:"error"`
	Found  uint64     `json:"found"`
	Heard  uint64     `json:"heard"`
	Last   *time.Time `json:"last"`
}

// Diagnosis is what an examination found.
type Diagnosis struct {
	Healthy  bool      `json:"healthy"`
	Findings []Finding `json:"findings"`
	Checks   []Check   `json:"checks"`
}

// Finding is something that is wrong, and what to do; see docs/doctor.md.
type Finding struct {
	Code    string `json:"code"`
	Subject string `json:"subject"`
	Detail  string `json:"detail"`
	Remedy  string `json:"remedy"`
}

// Check is something that was looked at. State is ok, wrong or skipped.
type Check struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	State   string `json:"state"`
	Detail  string `json:"detail"`
}

// UserEvent is an event that some node published. Nodes that hold the same
// events list them in the same order: by Timestamp, ties broken by Origin.
type UserEvent struct {
	Timestamp uint64
	At        time.Time
	Origin    string
	Name      string
	Payload   []byte
}

// UnmarshalJSON reads the API's form: text as it is, other bytes in base64.
func (e *UserEvent) UnmarshalJSON(data []byte) error {
	var wire struct {
		Timestamp     uint64    `json:"timestamp"`
		At            time.Time `json:"at"`
		Origin        string    `json:"origin"`
		Name          string    `json:"name"`
		Payload       *string   `json:"payload"`
		PayloadBase64 []byte    `json:"payload_base64"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	*e = UserEvent{wire.Timestamp, wire.At, wire.Origin, wire.Name, bytesOf(wire.Payload, wire.PayloadBase64)}
	return nil
}

func bytesOf(text *string, base64 []byte) []byte {
	if text != nil {
		return []byte(*text)
	}
	return base64
}
