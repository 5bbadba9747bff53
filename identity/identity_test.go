package identity

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const (
	incarnation = "00112233445566778899aabbccddeeff"
	another     = "ffeeddccbbaa99887766554433221100"
	session     = "0011223344556677"
	other       = "7766554433221100"
)

var (
	honest = Identity{Incarnation: incarnation, Start: 3, Session: session, Term: 7, Last: 120, Committed: 110}
	met    = Seen{Incarnation: incarnation, Start: 3, Session: session, Term: 7, Committed: 110}
)

func TestCheck(t *testing.T) {
	tests := []struct {
		name   string
		seen   Seen
		change func(*Identity)
		want   error
	}{
		{"first meeting", Seen{}, func(*Identity) {}, nil},
		{"same session", met, func(*Identity) {}, nil},
		{"earlier version", met, func(i *Identity) { *i = Identity{} }, nil},
		{"earlier version, first meeting", Seen{}, func(i *Identity) { *i = Identity{} }, nil},
		{"next start", met, func(i *Identity) { i.Start, i.Session, i.Past = 4, other, session }, nil},
		{"later start", met, func(i *Identity) {
			i.Start, i.Session, i.Past, i.Term, i.Last = 9, other, "1111111111111111,"+session, 8, 500
		}, nil},
		{"older copy, started many times", met, func(i *Identity) {
			i.Start, i.Session, i.Past, i.Term, i.Last = 9, other, "1111111111111111,2222222222222222", 8, 500
		}, ErrOlderStart},
		{"older copy that knows of no start", met, func(i *Identity) { i.Start, i.Session = 4, other }, ErrOlderStart},
		{"uncommitted tail replaced", met, func(i *Identity) { i.Last = 110 }, nil},
		{"lost disk", met, func(i *Identity) { i.Incarnation = another }, ErrLostData},
		{"lost disk, many starts", met, func(i *Identity) { i.Incarnation, i.Start, i.Session, i.Last = another, 99, other, 999 }, ErrLostData},
		{"older copy", met, func(i *Identity) { i.Start, i.Session = 2, other }, ErrOlderStart},
		{"older copy that has grown", met, func(i *Identity) { i.Start, i.Session, i.Term, i.Last = 2, other, 99, 999 }, ErrOlderStart},
		{"twice", met, func(i *Identity) { i.Session = other }, ErrTwoProcesses},
		{"older term", met, func(i *Identity) { i.Start, i.Session, i.Past, i.Term = 4, other, session, 6 }, ErrShorter},
		{"log cut short", met, func(i *Identity) { i.Start, i.Session, i.Past, i.Last = 4, other, session, 109 }, ErrShorter},
		{"an older word of one session", met, func(i *Identity) { i.Term, i.Last, i.Committed = 6, 109, 100 }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			who := honest
			tt.change(&who)
			err := tt.seen.Check(who)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("%+v.Check(%+v) = %v, want %v", tt.seen, who, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), incarnation) {
				t.Errorf("the error shows the incarnation: %v", err)
			}
		})
	}
}

func TestWith(t *testing.T) {
	next := Identity{Incarnation: incarnation, Start: 4, Session: other, Term: 8, Last: 200, Committed: 150}
	tests := []struct {
		name      string
		seen      Seen
		who       Identity
		committed uint64
		want      Seen
	}{
		{"first meeting", Seen{}, honest, 0, met},
		{"nothing new", met, honest, 0, met},
		{"next start", met, next, 0, Seen{incarnation, 4, other, 8, 150}},
		{"from another source", met, honest, 115, Seen{incarnation, 3, session, 7, 115}},
		{"less than is known", met, Identity{Incarnation: incarnation, Start: 3, Session: session, Term: 7, Last: 120, Committed: 100}, 90, met},
		{"earlier version", met, Identity{}, 0, met},
		{"earlier version never met", Seen{}, Identity{}, 0, Seen{}},
	}
	for _, tt := range tests {
		if got := tt.seen.With(tt.who, tt.committed); got != tt.want {
			t.Errorf("%s: With = %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// Whatever an honest member goes through, it passes at each member that met it.
func TestHonestMemberPasses(t *testing.T) {
	who, seen := Identity{Incarnation: incarnation, Start: 1, Session: session}, Seen{}
	for step := range uint64(1000) {
		switch step % 5 {
		case 0:
			who.Start++
			who.Past = strings.TrimPrefix(who.Past+","+who.Session, ",")
			who.Session = fmt.Sprintf("%016x", step)
		case 1:
			who.Term += step % 3
		case 2:
			who.Last += step % 7
		case 3:
			who.Committed += (who.Last - who.Committed) / 2
		case 4:
			who.Last -= (who.Last - who.Committed) / 3 // another leader replaces what is not committed
		}
		if err := seen.Check(who); err != nil {
			t.Fatalf("step %d: %+v.Check(%+v) = %v", step, seen, who, err)
		}
		if step%4 != 0 {
			seen = seen.With(who, 0)
		}
	}
}

func TestDecode(t *testing.T) {
	good := honest.String()
	tests := []struct {
		name, text string
		want       Identity
		ok         bool
	}{
		{"as written", good, honest, true},
		{"earlier version", "", Identity{}, true},
		{"for a stranger", "generation=" + another, Identity{Generation: another}, true},
		{"for a stranger, as founded", Identity{}.String(), Identity{}, true},
		{"strange generation only", "generation=blue", Identity{}, false},
		{"empty incarnation", "incarnation=; generation=", Identity{}, false},
		{"field of a later version", good + "; colour=blue", honest, true},
		{"no number", strings.Replace(good, "term=7", "term=", 1), Identity{}, false},
		{"negative number", strings.Replace(good, "term=7", "term=-7", 1), Identity{}, false},
		{"number too large", strings.Replace(good, "last=120", "last=18446744073709551616", 1), Identity{}, false},
		{"missing field", strings.Replace(good, "; last=120", "", 1), Identity{}, false},
		{"field twice", good + "; term=8", Identity{}, false},
		{"start 0", strings.Replace(good, "start=3", "start=0", 1), Identity{}, false},
		{"short incarnation", strings.Replace(good, "00112233", "", 1), Identity{}, false},
		{"upper case", strings.ToUpper(good), Identity{}, false},
		{"no session", strings.Replace(good, session, "", 1), Identity{}, false},
		{"strange generation", strings.Replace(good, "generation=", "generation=blue", 1), Identity{}, false},
		{"more committed than there is", strings.Replace(good, "committed=110", "committed=121", 1), Identity{}, false},
		{"too long", good + "; x=" + strings.Repeat("x", headerBytesMax), Identity{}, false},
		{"garbage", "hello", Identity{}, false},
	}
	for _, tt := range tests {
		got, err := Decode(tt.text)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%s: Decode(%q) = %+v, %v, want %+v, ok %v", tt.name, tt.text, got, err, tt.want, tt.ok)
		}
	}
	for _, generation := range []string{Joining, another} {
		who := honest
		who.Generation = generation
		if got, err := Decode(who.String()); got != who || err != nil {
			t.Errorf("Decode(%q) = %+v, %v, want what was written", who, got, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(honest.String())
	f.Add("generation=" + another)
	f.Add("incarnation=; start=1; session=x; generation=; term=1; last=2; committed=3")
	f.Fuzz(func(t *testing.T, text string) {
		who, err := Decode(text)
		if err != nil {
			return
		}
		again, err := Decode(who.String())
		if err != nil || again != who {
			t.Errorf("Decode(%q) = %+v, whose form decodes as %+v, %v", text, who, again, err)
		}
		if who.Known() && !(Seen{}).With(who, 0).Valid() {
			t.Errorf("Decode(%q) = %+v, which cannot be kept", text, who)
		}
	})
}
