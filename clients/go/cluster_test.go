package dui

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// node is a real dui process on loopback.
type node struct {
	name    string
	command *exec.Cmd
	client  string
	health  string
	done    chan struct{}
}

// binary is the dui to test: DUI_BIN, or what cargo has built.
func binary(t testing.TB) string {
	t.Helper()
	if given := os.Getenv("DUI_BIN"); given != "" {
		return given
	}
	target := os.Getenv("CARGO_TARGET_DIR")
	if target == "" {
		target = filepath.Join("..", "..", "target")
	}
	built := filepath.Join(target, "debug", "dui")
	if _, err := os.Stat(built); err != nil {
		t.Fatalf("no dui to test at %s: build it with cargo build -p dui-cli, or set DUI_BIN", built)
	}
	return built
}

// start runs a node of the test's own cluster, and waits until it is ready.
func start(t testing.TB, cluster, name string, flags ...string) *node {
	t.Helper()
	flags = append([]string{
		"run", "--cluster", cluster, "--name", name, "--log-format", "json",
		"--discovery-port", discoveryPort(), "--client-port", "0", "--peer-port", "0", "--health-port", "0",
	}, flags...)
	command := exec.Command(binary(t), flags...)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	started := &node{name: name, command: command, done: make(chan struct{})}
	t.Cleanup(started.kill)
	ready := make(chan struct{})
	go func() {
		defer close(started.done)
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			var line struct{ Event, Client, Health string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Event == "ready" {
				started.client, started.health = line.Client, line.Health
				close(ready)
			}
		}
		_ = command.Wait()
	}()
	select {
	case <-ready:
	case <-started.done:
		t.Fatalf("%s ended before it was ready", name)
	case <-time.After(20 * time.Second):
		t.Fatalf("%s is not ready after 20 s", name)
	}
	return started
}

// discoveryPort is one that no other cluster on this host is likely to use.
func discoveryPort() string { return fmt.Sprint(20_000 + os.Getpid()%20_000) }

func (n *node) kill() {
	_ = n.command.Process.Kill()
	<-n.done
}

// town is a cluster whose nodes see one another.
func town(t testing.TB, names ...string) ([]*node, *Client) {
	t.Helper()
	cluster := fmt.Sprintf("go-%d-%d", os.Getpid(), time.Now().UnixNano()%1_000_000)
	var nodes []*node
	var addresses []string
	for _, name := range names {
		started := start(t, cluster, name)
		nodes = append(nodes, started)
		addresses = append(addresses, started.client)
	}
	client, err := New(addresses...)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		one, err := New(address)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "all see all", func() bool {
			members, err := one.Members(soon(t), Alive)
			return err == nil && len(members) == len(names)
		})
	}
	return nodes, client
}

// soon is a context that ends before a test would seem to hang.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 60 s: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
