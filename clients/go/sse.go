package dui

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Longest line and largest message, in bytes: a server that never ends a line
// must not fill our memory. The largest honest message is the present state of
// a cluster, about 400 bytes a member.
const eventBytesMax = 16 << 20

// message is one of a stream of server-sent events (WHATWG HTML, 9.2.6).
type message struct {
	event, data string
	// The last id of the stream so far, here or in an earlier message.
	id string
}

// parser turns bytes into messages, wherever the network cuts them.
type parser struct {
	from    *bufio.Reader
	started bool
	// The last byte was a CR: a LF now belongs to it.
	afterCR bool
	id      string
}

func newParser(from io.Reader) *parser { return &parser{from: bufio.NewReader(from)} }

// next is the next whole message. Comments, kinds of lines of the future and
// messages without data are passed over.
func (p *parser) next() (message, error) {
	var building message
	var data strings.Builder
	some := false
	for {
		line, err := p.line()
		if err != nil {
			return message{}, err
		}
		if line == "" {
			if !some {
				building.event = ""
				continue
			}
			building.data, building.id = data.String(), p.id
			return building, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			building.event = value
		case "data":
			if data.Len()+len(value) > eventBytesMax {
				return message{}, tooLong()
			}
			if some {
				data.WriteByte('\n')
			}
			data.WriteString(value)
			some = true
		case "id":
			if !strings.Contains(value, "\x00") {
				p.id = value
			}
		}
	}
}

// line ends with LF, CR LF or CR.
func (p *parser) line() (string, error) {
	var line []byte
	for {
		b, err := p.from.ReadByte()
		if err != nil {
			return "", err
		}
		ended := p.afterCR
		p.afterCR = b == '\r'
		if ended && b == '\n' {
			continue
		}
		if b == '\r' || b == '\n' {
			break
		}
		if len(line) >= eventBytesMax {
			return "", tooLong()
		}
		line = append(line, b)
	}
	if !utf8.Valid(line) {
		return "", fmt.Errorf("an event that is not UTF-8")
	}
	text := string(line)
	if !p.started {
		text = strings.TrimPrefix(text, "\ufeff")
		p.started = true
	}
	return text, nil
}

func tooLong() error { return fmt.Errorf("an event larger than %d bytes", eventBytesMax) }
