package peer

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"

	"etcd2/identity"
	"etcd2/membership"
)

// A handshake is the exchange of identities: in the request that opens a stream and
// its answer, and in every other request between members. A member that is not the
// one that was met before under its ID is refused: nothing is sent to it and nothing
// of it reaches the member behind the transport.

// headerIdentity carries what package identity encodes, in requests and answers.
const headerIdentity = "X-Etcd2-Identity"

// removedLinger is how long the stream to a member that was dropped lives on, so that
// what was sent before, such as the news of its removal, still gets there.
const removedLinger = 500 * time.Millisecond

// errConnected asks to come back: the session of a member that is connected may be
// dead, which shows within Config.Silence.
var errConnected = errors.New("another process is connected as this member, try again")

// errRival refuses a second process.
var errRival = fmt.Errorf("%w (the other process is connected)", identity.ErrTwice)

// generationError says that another member is of another generation of the cluster.
type generationError struct{ theirs, ours string }

// generationText is the answer to a member of another generation.
const generationText = "cluster generation mismatch"

func (e *generationError) Error() string { return generationText }

// otherGeneration returns a *generationError when a member of the given generation
// belongs to another cluster since somebody used --force-new-cluster.
func (t *Transport) otherGeneration(theirs string) error {
	ours := t.member.Identity().Generation
	if theirs == ours || theirs == identity.Joining || ours == identity.Joining {
		return nil
	}
	return &generationError{theirs, ours}
}

// withheld is the identity without what only members that have met may know.
func withheld(who identity.Identity) identity.Identity {
	return identity.Identity{Generation: who.Generation}
}

// introduction is what this member tells of itself to another one: all to one that
// is trusted, else the generation only. A stranger that knows it could present itself
// as this member.
func (t *Transport) introduction(trusted bool) string {
	who := t.member.Identity()
	if !trusted {
		who = withheld(who)
	}
	return who.String()
}

// trusted reports whether Set has named a member, or a listed one has vouched for it.
func (t *Transport) trusted(id membership.ID) bool {
	l := t.link(id)
	return l != nil && l.trusted()
}

func (l *link) trusted() bool { return !l.unlisted || l.vouched.Load() }

// rival is another process that presents itself as a member that is connected.
type rival struct {
	first, last time.Time // when it came; zero for never
}

// meet decides whether a trusted member that presents itself is the one that was met
// before, and has that recorded durably.
func (t *Transport) meet(id membership.ID, who identity.Identity) error {
	if err := t.otherSession(id, who); err != nil {
		return err
	}
	return t.member.Meet(id, who)
}

// otherSession refuses a process that presents itself as a member while another
// process is connected as that member. The connection of a machine that lost its
// power looks alive for a while: it has to show that it is, a keep-alive period after
// the other one came.
func (t *Transport) otherSession(id membership.ID, who identity.Identity) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.links[id]
	if l == nil {
		return nil
	}
	var heard time.Time
	if in := t.inbound[id]; in != nil && in.who.Known() && in.who.Session != who.Session {
		heard = time.Unix(0, in.heard.Load())
	}
	if session, last := l.session(); session != "" && session != who.Session && last.After(heard) {
		heard = last
	}
	if heard.IsZero() {
		l.rival = rival{}
		return nil
	}
	now, since := time.Now(), l.rival.last
	l.rival.last = now
	switch {
	case now.Sub(since) > 2*t.cfg.Silence:
		l.rival.first = now
	case heard.Sub(l.rival.first) >= t.cfg.KeepAlive:
		return errRival
	case now.Sub(l.rival.first) > t.cfg.Silence:
		l.rival = rival{} // the one that is connected is dead
		return nil
	}
	return errConnected
}

// proven refuses a sender that tells no identity although the member with its ID did
// before. A member of an earlier version does that, after a downgrade, and a stranger may:
// the process at the URL of the member decides. It has to tell no identity either.
func (t *Transport) proven(from membership.ID, who identity.Identity) error {
	if who.Known() || !t.member.Seen(from).Known() {
		return nil
	}
	l := t.link(from)
	if l == nil || l.anonymous() {
		return nil
	}
	signal(l.again)
	return errUnproven
}

// errUnproven asks to come back when the stream the other way is there.
var errUnproven = errors.New("the sender tells no identity, and the member with its ID is not reached at its peer URL")

// caller is the sender of a request.
type caller struct {
	id  membership.ID
	who identity.Identity // as it tells
	met bool              // it is trusted and was met; else it is an unlisted peer
}

// identify checks the sender of a request that admit has let in, in this order: the
// identity, then whether the member was removed. It answers itself when the request
// is refused.
func (t *Transport) identify(w http.ResponseWriter, r *http.Request, from membership.ID) (c caller, ok bool) {
	who, err := identity.Decode(r.Header.Get(headerIdentity))
	c = caller{id: from, who: who}
	w.Header().Set(headerIdentity, t.introduction(false))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return c, false
	}
	if t.trusted(from) && !t.member.Removed(from) {
		err := t.proven(from, who)
		if err == nil {
			err = t.meet(from, who)
		}
		if err != nil {
			return c, t.refuse(w, r, from, err)
		}
		w.Header().Set(headerIdentity, t.introduction(who.Known()))
		c.met = true
		return c, true
	}
	seen := t.member.Seen(from)
	if err := seen.Check(who); err != nil {
		return c, t.refuse(w, r, from, err)
	}
	met := seen.Known() && who.Known()
	if t.member.Removed(from) {
		w.Header().Set(headerIdentity, t.introduction(met))
		if t.seldom.ok("removed " + from.String()) {
			t.log.Warn(fmt.Sprintf("rejected the stream from peer %s since it was removed", from))
		}
		http.Error(w, "removed member", http.StatusGone)
		return c, false
	}
	return c, true // what an unlisted peer may do is decided elsewhere
}

// refuse answers a request of a member that is not the one that was met before.
func (t *Transport) refuse(w http.ResponseWriter, r *http.Request, from membership.ID, err error) bool {
	if !isIdentity(err) {
		if !errors.Is(err, errConnected) && !errors.Is(err, errUnproven) && t.seldom.ok("record "+from.String()) {
			t.log.Error("what was seen of a member cannot be recorded, so it has to wait", "from", from, "error", err)
		}
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return false
	}
	t.logRefused(from, cmp.Or(r.Header.Get(headerURLs), r.RemoteAddr), err)
	http.Error(w, err.Error(), http.StatusConflict)
	return false
}

// isIdentity reports whether an error is about the identity of a member.
func isIdentity(err error) bool {
	return errors.Is(err, identity.ErrLostData) || errors.Is(err, identity.ErrOlderStart) ||
		errors.Is(err, identity.ErrTwice) || errors.Is(err, identity.ErrShorter)
}

// logRefused says that this member refuses another one.
func (t *Transport) logRefused(id membership.ID, url string, err error) {
	if t.seldom.ok("identity " + id.String()) {
		t.log.Error(fmt.Sprintf("member %s at %s is refused: %v", t.named(id), url, err))
	}
}

// named is a member as a person knows it.
func (t *Transport) named(id membership.ID) string {
	if l := t.link(id); l != nil {
		if name := l.name.Load(); name != nil && *name != "" {
			return fmt.Sprintf("%s (%s)", *name, id)
		}
	}
	return id.String()
}

// accepted checks the member that has answered the opening of a stream, before
// anything is sent to it.
func (t *Transport) accepted(to membership.ID, url string, answer *http.Response) (identity.Identity, error) {
	who, err := identity.Decode(answer.Header.Get(headerIdentity))
	if err != nil {
		return who, fmt.Errorf("peer: the answer of %s: %w", url, err)
	}
	if err := t.otherGeneration(who.Generation); err != nil {
		t.logParted(to, url, who.Generation)
		return who, err
	}
	if !t.trusted(to) {
		return identity.Identity{}, nil
	}
	if who.Known() { // a member that does not list this one yet does not tell its identity
		err = t.otherSession(to, who)
	}
	if err == nil {
		err = t.member.Meet(to, who)
	}
	if err != nil {
		if isIdentity(err) {
			t.logRefused(to, url, err)
		}
		return who, err
	}
	t.member.RefusedBy(to, "")
	return who, nil
}

// slow reports whether an error will last until a person does something.
func slow(err error) bool {
	var r *refusal
	var other *generationError
	return isIdentity(err) || errors.As(err, &other) ||
		errors.As(err, &r) && (r.status == http.StatusConflict || r.status == http.StatusPreconditionFailed || r.status == http.StatusGone)
}

// hasLine reports whether an error about another member has a line in the log that
// says more.
func hasLine(err error) bool {
	var r *refusal
	var other *generationError
	return isIdentity(err) || errors.As(err, &other) ||
		errors.As(err, &r) && (r.status == http.StatusConflict || r.text == generationText)
}

// checkAnswer checks the member that has answered a request. With proof a member of an
// earlier version does not pass either.
func (t *Transport) checkAnswer(to membership.ID, answer *http.Response, proof bool) error {
	who, err := identity.Decode(answer.Header.Get(headerIdentity))
	if err == nil {
		err = t.member.Seen(to).Check(who)
	}
	if err == nil && proof && !who.Known() {
		err = errNoProof
	}
	return err
}

// errNoProof is the fate of an answer that might be anybody's.
var errNoProof = errors.New("peer: the answer does not show that it is from the member")

// logParted says once that a member of the same cluster ID is another cluster by now.
func (t *Transport) logParted(id membership.ID, url, theirs string) {
	t.mu.Lock()
	was, told := t.parted[id]
	told = told && was == theirs
	if len(t.parted) < seldomKeys {
		t.parted[id] = theirs
	}
	t.mu.Unlock()
	if told {
		return
	}
	if t.member.Identity().Generation == "" {
		t.log.Error(fmt.Sprintf("member %s at %s was made a cluster of its own with --force-new-cluster; "+
			"this cluster goes on without it: remove it with DELETE /v2/members/%s", t.named(id), url, id))
		return
	}
	t.log.Error(fmt.Sprintf("member %s at %s does not belong to this cluster, which began again with --force-new-cluster; "+
		"it is not reached any more: stop it, or give it an empty data directory and add it to this cluster", id, url))
}

// refuseTwice answers a request that another process sends under this member's own
// ID, and reports whether it is one.
func (t *Transport) refuseTwice(w http.ResponseWriter, r *http.Request) bool {
	from, err := membership.ParseID(r.Header.Get(headerFrom))
	if err != nil || from != t.member.ID() {
		return false
	}
	who, err := identity.Decode(r.Header.Get(headerIdentity))
	if err != nil || !who.Known() || who.Session == t.member.Identity().Session {
		return false // an earlier version, or a URL that leads back to this process
	}
	if t.seldom.ok("twice") {
		t.log.Error(fmt.Sprintf("another process runs as this member, %s, at %s: %v",
			t.named(from), cmp.Or(r.Header.Get(headerURLs), r.RemoteAddr), identity.ErrTwice))
	}
	http.Error(w, identity.ErrTwice.Error(), http.StatusConflict)
	return true
}
