package localstate

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"etcd2/identity"
	"etcd2/internal/sim"
)

var seenOnce = identity.Seen{
	Incarnation: "00112233445566778899aabbccddeeff", Start: 3, Session: "0011223344556677", Term: 7, Committed: 110,
}

func open(t *testing.T, cfg Config) *File {
	t.Helper()
	f, err := Open(cfg)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return f
}

// A state that was changed is there after the next start.
func TestStory(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "member")}
	if there, err := Exists(cfg); there || err != nil {
		t.Errorf("Exists before the first start = %v, %v", there, err)
	}
	f := open(t, cfg)
	first := f.State()
	if !identity.ValidIncarnation(first.Incarnation) || first.Starts != 0 || first.Generation != "" || len(first.Seen) > 0 || first.Time != (Time{}) {
		t.Errorf("a new state is %+v, want an incarnation and nothing else", first)
	}
	one, err := f.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Update(func(s *State) { s.Seen[9], s.Generation = seenOnce, identity.Joining }); err != nil {
		t.Fatal(err)
	}
	if err := f.SetTime(4, -5); err != nil {
		t.Fatal(err)
	}
	if there, err := Exists(cfg); !there || err != nil {
		t.Errorf("Exists = %v, %v", there, err)
	}
	g := open(t, cfg)
	if got, want := g.State(), f.State(); !reflect.DeepEqual(got, want) || got.Time != (Time{4, -5}) || got.Seen[9] != seenOnce || g.Seen(9) != seenOnce || g.Seen(8).Known() {
		t.Errorf("read back %+v, want %+v", got, want)
	}
	two, err := g.Begin()
	if err != nil || one == two || len(two) != 16 || g.State().Starts != 2 || g.State().Incarnation != first.Incarnation {
		t.Errorf("the second start: session %s after %s, %v, state %+v", two, one, err, g.State())
	}
	g.State().Seen[10] = seenOnce // a copy
	if g.Seen(10).Known() {
		t.Error("a change of the copy changes the state")
	}
	if h := open(t, Config{Dir: t.TempDir()}); h.State().Incarnation == first.Incarnation {
		t.Error("two directories have one incarnation")
	}
}

// What a later version adds to the file stays in it.
func TestUnknownFieldsStay(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	f := open(t, cfg)
	content, err := encode(f.State(), fields{"colour": []byte(`{"blue": [1, 2]}`)})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(cfg.Dir, FileName)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, cfg).Begin(); err != nil {
		t.Fatal(err)
	}
	content, err = os.ReadFile(name)
	if err != nil || !strings.Contains(string(content), "colour") || open(t, cfg).State().Starts != 1 {
		t.Errorf("after a start the file is %s, %v", content, err)
	}
}

func TestRefused(t *testing.T) {
	f := open(t, Config{Dir: t.TempDir()})
	if err := f.Update(func(s *State) { s.Seen[9] = seenOnce }); err != nil {
		t.Fatal(err)
	}
	content, err := encode(f.State(), nil)
	if err != nil {
		t.Fatal(err)
	}
	good := string(content)
	later, err := encode(f.State(), fields{})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		content string
		want    error
	}{
		"empty":           {"", ErrDamaged},
		"zeros":           {strings.Repeat("\x00", len(good)), ErrDamaged},
		"null":            {"null", ErrDamaged},
		"cut":             {good[:len(good)/2], ErrDamaged},
		"half zeros":      {good[:len(good)/2] + strings.Repeat("\x00", len(good)/2), ErrDamaged},
		"other number":    {strings.Replace(good, `"committed": 110`, `"committed": 111`, 1), ErrDamaged},
		"without the sum": {strings.Replace(good, `"sum"`, `"mus"`, 1), ErrDamaged},
		"later version":   {strings.Replace(string(later), `"version": 1`, `"version": 2`, 1), ErrLaterVersion},
		"no version":      {strings.Replace(good, `"version": 1`, `"version": 0`, 1), ErrDamaged},
		"too long":        {good + strings.Repeat(" ", fileBytesMax), ErrDamaged},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Dir: t.TempDir()}
			file := filepath.Join(cfg.Dir, FileName)
			if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(cfg)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("Open = %v, want %v with the name of the file", err, tt.want)
			}
			if now, _ := os.ReadFile(file); string(now) != tt.content {
				t.Error("the file was changed")
			}
		})
	}
	cfg := Config{Dir: t.TempDir()} // space between the fields is not damage
	if err := os.WriteFile(filepath.Join(cfg.Dir, FileName), []byte(strings.ReplaceAll(good, "\n", "\n ")), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, cfg)
}

// A crash at any moment leaves a state that was asked for: the last one that was
// durable, or the one after it.
func TestCrash(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		disk := sim.NewDisk(rng)
		cfg := Config{Dir: "/data/member", FS: disk}
		f := open(t, cfg)
		done := uint64(0)
		disk.StopAfter(rng.IntN(20))
		for range 4 {
			if _, err := f.Begin(); err != nil {
				break
			}
			done++
		}
		if got := f.State().Starts; got != done {
			t.Fatalf("seed %d: %d starts in memory, want %d", seed, got, done)
		}
		disk.Crash()
		if got := open(t, cfg).State(); got.Starts != done && got.Starts != done+1 || got.Incarnation != f.State().Incarnation {
			t.Fatalf("seed %d: %+v after the crash, want %d or %d starts", seed, got, done, done+1)
		}
	}
}

// A failed write leaves the state as it was, and the next one succeeds.
func TestFailedWrite(t *testing.T) {
	disk := sim.NewDisk(rand.New(rand.NewPCG(1, 1)))
	cfg := Config{Dir: "/data/member", FS: disk}
	f := open(t, cfg)
	for name, fail := range map[string]func(){
		"sync": func() { disk.FailSync(1) }, "write": func() { disk.FailWrite(1) }, "full": func() { disk.SetFull(10) },
	} {
		before := f.State().Starts
		fail()
		if _, err := f.Begin(); err == nil || f.State().Starts != before || open(t, cfg).State().Starts != before {
			t.Errorf("%s: Begin = %v, %d starts, want an error and %d", name, err, f.State().Starts, before)
		}
		disk.SetFull(-1)
		if _, err := f.Begin(); err != nil || open(t, cfg).State().Starts != before+1 {
			t.Errorf("after a failed %s: Begin = %v", name, err)
		}
	}
}

// Equal states are not written, and many goroutines may change the state.
func TestManyGoroutines(t *testing.T) {
	disk := sim.NewDisk(rand.New(rand.NewPCG(1, 1)))
	cfg := Config{Dir: "/data/member", FS: disk}
	f := open(t, cfg)
	var all sync.WaitGroup
	for id := range uint64(20) {
		all.Go(func() {
			if err := f.Update(func(s *State) { s.Seen[id], s.Starts = seenOnce, s.Starts+1 }); err != nil {
				t.Error(err)
			}
			f.Seen(id)
		})
	}
	all.Wait()
	if got := open(t, cfg).State(); got.Starts != 20 || len(got.Seen) != 20 {
		t.Errorf("after 20 changes: %+v", got)
	}
	disk.StopAfter(0)
	if err := f.Update(func(s *State) { s.Starts = 20 }); err != nil {
		t.Errorf("an equal state is written: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []State{{Incarnation: seenOnce.Incarnation}, {Incarnation: seenOnce.Incarnation, Starts: 4, Seen: map[uint64]identity.Seen{1: seenOnce}}} {
		content, err := encode(s, fields{"colour": []byte("1")})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Add([]byte(fmt.Sprintf(`{"version":1,"incarnation":%q,"starts":1,"generation":"","seen":null,"time":{},"sum":""}`, seenOnce.Incarnation)))
	f.Fuzz(func(t *testing.T, content []byte) {
		s, extra, err := decode(content)
		if err != nil {
			return
		}
		again, err := encode(s, extra)
		if err != nil {
			t.Fatalf("encode of what decode(%q) gave: %v", content, err)
		}
		if got, _, err := decode(again); err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("decode(%q) = %+v, which is read back as %+v, %v", content, s, got, err)
		}
	})
}

// A directory knows its latest sessions, and of the earlier ones those that other members
// have accepted.
func TestPast(t *testing.T) {
	f := open(t, Config{Dir: t.TempDir()})
	var sessions []string
	for n := range sessionsMax + 5 {
		session, err := f.Begin()
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, session)
		if n == 1 {
			if err := f.Update(func(s *State) { s.Accepted[7], s.Accepted[8] = session, session }); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := append(sessions[5:len(sessions)-1:len(sessions)-1], sessions[1])
	if got := f.State().Past(); got != strings.Join(want, ",") {
		t.Errorf("Past = %s, want %s", got, want)
	}
	if got := open(t, f.cfg).State().Past(); got != f.State().Past() {
		t.Errorf("after a restart Past = %s, want %s", got, f.State().Past())
	}
}
