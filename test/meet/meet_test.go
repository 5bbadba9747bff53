// Package meet lets the founding members of a cluster find each other through a
// real server of the v2 API: our own one, and an installed etcd 3.4.
package meet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"etcd2/client"
	"etcd2/discovery"
	"etcd2/membership"
	"etcd2/test/proc"
)

func TestMain(m *testing.M) { os.Exit(proc.Main(m)) }

// founder is one member that looks for the others.
type founder struct {
	self membership.Member
	log  proc.Output
	end  chan error // gets the outcome
	got  membership.Peers
}

// await waits for a line of the log.
func (f *founder) await(ctx context.Context, t *testing.T, text string) {
	t.Helper()
	if !f.log.Await(ctx, text, nil) {
		t.Fatalf("the log has no %q:\n%s", text, &f.log)
	}
}

// start begins to look for the others at a URL.
func start(ctx context.Context, at string, n int) *founder {
	f := &founder{
		self: membership.Member{Name: fmt.Sprintf("infra%d", n), PeerURLs: []string{fmt.Sprintf("http://10.0.1.1%d:2380", n)}},
		end:  make(chan error, 1),
	}
	go func() {
		var err error
		f.got, err = discovery.Join(ctx, discovery.URLConfig{URL: at, Logger: slog.New(slog.NewTextHandler(&f.log, nil))}, f.self)
		f.end <- err
	}()
	return f
}

// onEach runs a test on every server there is.
func onEach(t *testing.T, test func(context.Context, *testing.T, *proc.Member)) {
	servers := map[string]proc.Options{"own": {}}
	if bin, err := exec.LookPath("etcd"); err == nil && !proc.Foreign() {
		servers["installed"] = proc.Options{Bin: bin, Flags: []string{"--enable-v2"}}
	}
	for name, options := range servers {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			test(ctx, t, proc.Start(t, options))
		})
	}
}

// TestMeet: three members meet although the server goes away in between, the next
// one finds the cluster full, and a proxy learns who they are.
func TestMeet(t *testing.T) { onEach(t, meet) }

func meet(ctx context.Context, t *testing.T, server *proc.Member) {
	at := server.URL() + "/v2/keys/discovery/tok1"
	form := strings.NewReader(url.Values{"value": {"3"}}.Encode())
	put, err := http.NewRequestWithContext(ctx, http.MethodPut, at+"/_config/size", form)
	if err != nil {
		t.Fatal(err)
	}
	put.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(put)
	if err != nil || answer.StatusCode != http.StatusCreated {
		t.Fatalf("PUT size = %v, %v", answer, err)
	}
	answer.Body.Close()

	founders := []*founder{start(ctx, at, 0), start(ctx, at, 1)}
	for _, f := range founders {
		f.await(ctx, t, "found 2 peer(s), waiting for 1 more")
	}
	server.Kill()
	founders[0].await(ctx, t, "waiting for other nodes: error connecting to "+server.URL()+", retrying in 2s")
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	founders = append(founders, start(ctx, at, 2))
	const want = "infra0=http://10.0.1.10:2380,infra1=http://10.0.1.11:2380,infra2=http://10.0.1.12:2380"
	for _, f := range founders {
		if err := <-f.end; err != nil || f.got.String() != want {
			t.Errorf("%s found %v, %v\n%s", f.self.Name, f.got, err, &f.log)
		}
	}
	if err := <-start(ctx, at, 3).end; !errors.Is(err, discovery.ErrFull) {
		t.Errorf("the fourth got %v, want %v", err, discovery.ErrFull)
	}
	var told *discovery.JoinError
	if err := <-start(ctx, at, 0).end; !errors.As(err, &told) || !errors.Is(err, discovery.ErrDuplicateID) {
		t.Errorf("infra0 without its data got %v, want %v", err, discovery.ErrDuplicateID)
	}
	if peers, err := discovery.Members(ctx, discovery.URLConfig{URL: at}); err != nil || peers.String() != want {
		t.Errorf("a proxy found %v, %v", peers, err)
	}
	if err := <-start(ctx, server.URL()+"/v2/keys/discovery/other", 0).end; !errors.Is(err, discovery.ErrNoSize) {
		t.Errorf("at a place without a size: %v, want %v", err, discovery.ErrNoSize)
	}
}

// TestClient: the calls of package client against real servers.
func TestClient(t *testing.T) { onEach(t, talk) }

func talk(ctx context.Context, t *testing.T, server *proc.Member) {
	c, err := client.New(client.Config{Endpoints: []string{"http://127.0.0.1:1", server.Client}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Sync(ctx); err != nil || c.Endpoints()[0] != server.URL() {
		t.Fatalf("Sync = %v, endpoints %q", err, c.Endpoints())
	}
	k := c.Keys()
	made, err := k.Create(ctx, "/odd name/k%", "v\n\x01é", time.Minute)
	if err != nil || made.Node.TTL != 60 || made.Node.Expiration == nil || made.Node.Value != "v\n\x01é" || made.Node.Key != "/odd name/k%" {
		t.Fatalf("Create = %+v, %v", made, err)
	}
	if _, err := k.Create(ctx, "/odd name/k%", "", 0); !client.IsCode(err, client.CodeKeyExists) {
		t.Errorf("Create again = %v", err)
	}
	if _, err := k.Set(ctx, "/odd name/k%", "w", client.SetOptions{PrevIndex: made.Node.ModifiedIndex, PrevValue: made.Node.Value}); err != nil {
		t.Errorf("Set = %v", err)
	}
	w := k.Watcher("/odd name", client.WatcherOptions{AfterIndex: made.Node.ModifiedIndex, Recursive: true})
	if e, err := w.Next(ctx); err != nil || e.Action != "compareAndSwap" || e.PrevNode == nil || e.PrevNode.Value != made.Node.Value {
		t.Errorf("Next = %+v, %v", e, err)
	}
	if r, err := k.Set(ctx, "/odd name/k%", "", client.SetOptions{Refresh: true, TTL: time.Hour}); err != nil || r.Node.TTL != 3600 || r.Node.Value != "w" {
		t.Errorf("refresh = %+v, %v", r, err)
	}
	for range 2 {
		if _, err := k.CreateInOrder(ctx, "/queue", "job", 0); err != nil {
			t.Errorf("CreateInOrder = %v", err)
		}
	}
	if r, err := k.Get(ctx, "/", client.GetOptions{Recursive: true, Sorted: true, Quorum: true}); err != nil || len(r.Node.Nodes) != 2 || len(r.Node.Nodes[1].Nodes) != 2 || r.ClusterID == "" {
		t.Errorf("Get = %+v, %v", r, err)
	}
	if _, err := k.Delete(ctx, "/queue", client.DeleteOptions{Recursive: true}); err != nil {
		t.Errorf("Delete = %v", err)
	}
	members, err := c.Members().List(ctx)
	leader, err2 := c.Members().Leader(ctx)
	if err != nil || err2 != nil || len(members) != 1 || leader.ID != members[0].ID {
		t.Errorf("List = %+v, %v, Leader = %+v, %v", members, err, leader, err2)
	}
	if _, err := c.Members().Add(ctx, []string{"nonsense"}); err == nil {
		t.Error("Add of nonsense succeeded")
	}
	if err := c.Members().Remove(ctx, "abc"); err == nil || err.Error() != "No such member: abc" {
		t.Errorf("Remove = %v", err)
	}
}
