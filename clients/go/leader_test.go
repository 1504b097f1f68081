package dui

import (
	"context"
	"testing"
)

func TestWhoLeadsIsKnownEverywhereAndMoves(t *testing.T) {
	nodes, client := town(t, "ann", "bo", "cy")
	ctx := soon(t)
	eventually(t, "all vote", func() bool {
		list, err := client.Managers(ctx)
		if err != nil || len(list.Managers) != 3 {
			return false
		}
		for _, manager := range list.Managers {
			if manager.Part != PartLeader && manager.Part != PartVoter {
				return false
			}
		}
		return true
	})
	before, err := client.Leader(ctx)
	if err != nil || before.State != Led || before.Name == nil || before.Why != "" {
		t.Fatalf("%+v, %v", before, err)
	}
	heir := "bo"
	if *before.Name == heir {
		heir = "cy"
	}
	after, err := client.MoveLeader(ctx, heir)
	if err != nil || *after.Name != heir || *after.Revision <= *before.Revision || *after.ClusterID != *before.ClusterID {
		t.Fatalf("%+v, %v", after, err)
	}
	for _, one := range nodes {
		asked, err := New(one.client)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, one.name+" knows", func() bool {
			known, err := asked.Leader(ctx)
			return err == nil && known.Name != nil && *known.Name == heir
		})
	}
	if _, err := client.MoveLeader(ctx, "no/one?"); CodeOf(err) != CodeUnknownMember {
		t.Fatal(err)
	}
	third := "ann"
	if *before.Name == third {
		third = "bo"
	}
	if third == heir {
		third = "cy"
	}
	if manager, err := client.Demote(ctx, third); err != nil || manager.Name != third {
		t.Fatalf("%+v, %v", manager, err)
	}
	if manager, err := client.Promote(ctx, third); err != nil || manager.Name != third {
		t.Fatalf("%+v, %v", manager, err)
	}
}

func TestViewsAreToldByNumberAndInTheirOrder(t *testing.T) {
	nodes, client := town(t, "ann", "bo")
	ctx, stop := context.WithCancel(soon(t))
	defer stop()
	watch, err := client.Watch(ctx, WatchFilter{Leader: true}, "")
	if err != nil {
		t.Fatal(err)
	}
	if first := <-watch.C; first.Kind != Reset {
		t.Fatalf("%+v", first)
	}
	if second := <-watch.C; second.Kind != LeaderChanged || second.Leader == nil {
		t.Fatalf("%+v", second)
	}
	var list *ViewList
	eventually(t, "both are in a view", func() bool {
		list, err = client.Views(ctx, 0)
		return err == nil && len(list.Members) == 2
	})
	last := list.Views[len(list.Views)-1]
	if last.ClusterID != *list.ClusterID {
		t.Fatalf("%+v", list)
	}
	if later, err := client.Views(ctx, last.Number); err != nil || len(later.Views) != 0 || len(later.Members) != 2 {
		t.Fatalf("%+v, %v", later, err)
	}
	gone := nodes[0]
	if "http://"+gone.client == client.Address() {
		gone = nodes[1]
	}
	leaver, err := New(gone.client)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaver.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	for {
		watched, open := <-watch.C
		if !open {
			t.Fatal("the watch ended", watch.Err())
		}
		if watched.Kind != ViewChanged || len(watched.View.Left) == 0 {
			continue
		}
		if watched.View.Number <= last.Number || len(watched.View.Left) != 1 || len(watched.View.Failed) != 0 {
			t.Fatalf("%+v after %+v", watched.View, last)
		}
		break
	}
}
