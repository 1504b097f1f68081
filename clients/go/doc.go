// Package dui is a client of dui nodes: who is in the cluster, who is alive,
// who leads, shared entries, user events, and a watch of all of that.
//
//	client, err := dui.New("127.0.0.1:7777", "127.0.0.1:7778")
//	...
//	written, err := client.Put(ctx, "config/limits", []byte("10"), nil)
//
// A client of several nodes talks to one of them, and goes on with another
// when that one is gone, leaves or is out of order, for some rounds of all of
// them with growing waits of which half is chance. A request that may have
// been carried out is sent again only where doing it twice is doing it once:
// everything but Publish, Leave, Forget and RecoverShared.
//
// Addresses are IP:PORT or localhost:PORT, with or without http://. A node
// serves no request that calls it by another name, so that no web page drives
// it through a name of its own.
//
// Every method takes a context, which ends it whatever it waits for. Without
// a deadline of its own a request waits for each answer for 5 s, see
// Client.WithTimeout. A Client is safe for use by many goroutines and needs
// no end; a Watch or a Follow ends with its context.
//
// Names and behaviour are those of the Rust client; docs/clients.md has both
// side by side, with curl.
package dui
