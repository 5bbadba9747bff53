package peer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"etcd2/identity"
	"etcd2/membership"
)

// A handshake is the exchange of identities: in the request that opens a stream and
// its response, and in every other request between members. A member that is not the
// one that was met before under its ID is refused: nothing is sent to it and nothing
// from it reaches this member.

// removedLinger is how long the stream to a dropped member lives on, so that what was
// sent before, such as its removal, still arrives.
const removedLinger = 500 * time.Millisecond

// errConnected asks the sender to retry: the connected process may be dead, which shows
// within Config.Silence.
var errConnected = errors.New("another process is connected as this member, try again")

// errRival refuses a second process while the first one is connected and alive.
var errRival = fmt.Errorf("%w (the other process is connected)", identity.ErrTwoProcesses)

// generationError says that another member is of another generation of the cluster.
type generationError struct{ theirs, ours string }

// generationText is the text of the response to a member of another generation.
const generationText = "cluster generation mismatch"

func (e *generationError) Error() string { return generationText }

// otherGeneration returns a *generationError when a member of the generation that it
// tells belongs to another cluster since somebody used --force-new-cluster. A listed
// member whose text is empty is of an earlier release: it was added to this cluster.
func (t *Transport) otherGeneration(id membership.ID, text string, who identity.Identity) error {
	theirs, ours := who.Generation, t.member.Identity().Generation
	if identity.SameGeneration(theirs, ours) || text == "" && t.lists(id) {
		return nil
	}
	return &generationError{theirs, ours}
}

// lists reports whether Set has named a member.
func (t *Transport) lists(id membership.ID) bool {
	l := t.link(id)
	return l != nil && !l.unlisted
}

// generationOnly returns the part of an identity that anybody may know.
func generationOnly(who identity.Identity) identity.Identity {
	return identity.Identity{Generation: who.Generation}
}

// introduction returns this member's encoded identity for another member. A peer that
// is not trusted gets the generation only: with the rest it could pose as this member.
func (t *Transport) introduction(trusted bool) string {
	who := t.member.Identity()
	if !trusted {
		who = generationOnly(who)
	}
	return who.String()
}

// trusted reports whether a member is listed, or a listed one has vouched for it.
func (t *Transport) trusted(id membership.ID) bool {
	l := t.link(id)
	return l != nil && l.trusted()
}

func (l *link) trusted() bool { return !l.unlisted || l.vouched.Load() }

// rival is another process that presents itself as a member that is connected.
type rival struct {
	first, last time.Time // of its requests; zero for none
}

// meet checks the identity of a trusted member and has it recorded durably. Of an
// unlisted peer, whose URLs are only what it says, nothing is recorded.
func (t *Transport) meet(l *link, who identity.Identity) error {
	if !who.Known() {
		return nil // nothing to check or to record
	}
	if err := t.otherSession(l.id, who); err != nil {
		return err
	}
	if l.unlisted {
		return t.member.Seen(l.id).Check(who)
	}
	return t.member.Meet(l.id, who)
}

// otherSession refuses a process that presents itself as a member while another process
// is connected as that member. The connection of a machine that lost its power looks
// alive for a while, so the decision waits: the connected process must be heard from a
// keep-alive period after the rival's first request.
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
		l.rival = rival{} // the connected process is dead
		return nil
	}
	return errConnected
}

// proven refuses a sender that does not show that it is the member with its ID, as far as
// the process at the member's peer URL can tell. A sender without an identity, when the
// member had one before, is that member after a downgrade, or a stranger: that process
// must tell no identity either. A sender with an identity, when the member was not met
// before, must be that process.
func (t *Transport) proven(ctx context.Context, l *link, who identity.Identity) error {
	met := t.member.Seen(l.id).Known()
	switch {
	case who.Known() == met, l.unlisted:
		return nil
	case who.Known():
		if l.confirmed(ctx, who.Session) {
			return nil
		}
	case l.anonymous():
		return nil
	}
	signal(l.again)
	return errUnproven
}

// errUnproven asks the sender to retry once the member is reached at its peer URL.
var errUnproven = errors.New("the member with this ID is not met yet, or was met with an identity, and the process at its peer URL is not known to be the sender")

// caller is the sender of a request.
type caller struct {
	id  membership.ID
	who identity.Identity // as the sender tells it
	met bool              // it is trusted and passed the check; else it is an unlisted peer
}

// identify checks the sender of an admitted request: first its identity, then whether
// it was removed. It answers itself when the request is refused.
func (t *Transport) identify(w http.ResponseWriter, r *http.Request, from membership.ID) (c caller, ok bool) {
	who, err := identity.Decode(r.Header.Get(identity.Header))
	c = caller{id: from, who: who}
	w.Header().Set(identity.Header, t.introduction(false))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return c, false
	}
	if l := t.link(from); l != nil && l.trusted() && !t.member.Removed(from) {
		err := t.proven(r.Context(), l, who)
		if err == nil {
			err = t.meet(l, who)
		}
		if err != nil {
			return c, t.refuse(w, r, from, err)
		}
		w.Header().Set(identity.Header, t.introduction(who.Known()))
		c.met = true
		return c, true
	}
	seen := t.member.Seen(from)
	if err := seen.Check(who); err != nil {
		return c, t.refuse(w, r, from, err)
	}
	met := seen.Known() && who.Known()
	if t.member.Removed(from) {
		w.Header().Set(identity.Header, t.introduction(met))
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
		errors.Is(err, identity.ErrTwoProcesses) || errors.Is(err, identity.ErrShorter)
}

// logRefused logs that this member refuses another one.
func (t *Transport) logRefused(id membership.ID, url string, err error) {
	if t.seldom.ok("identity " + id.String()) {
		t.log.Error(fmt.Sprintf("member %s at %s is refused: %v", t.named(id), clipped(url), err))
	}
}

// named returns the name of a member, if it is known, and its ID.
func (t *Transport) named(id membership.ID) string {
	if l := t.link(id); l != nil {
		if name := l.name.Load(); name != nil && *name != "" {
			return fmt.Sprintf("%s (%s)", *name, id)
		}
	}
	return id.String()
}

// accepted checks the identity in the response that opens a stream, before anything is
// sent on it.
func (t *Transport) accepted(to membership.ID, url string, answer *http.Response) (identity.Identity, error) {
	who, err := identity.Decode(answer.Header.Get(identity.Header))
	if err != nil {
		return who, fmt.Errorf("peer: the answer of %s: %w", url, err)
	}
	if err := t.otherGeneration(to, answer.Header.Get(identity.Header), who); err != nil {
		t.logOtherGeneration(to, url)
		return who, err
	}
	l := t.link(to)
	if l == nil || !l.trusted() {
		return identity.Identity{}, nil
	}
	// A member that does not list this one yet does not tell its identity, but tells the
	// generation of the cluster.
	if who.Known() || l.unlisted {
		err = t.meet(l, who)
	} else {
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

// needsOperator reports whether an error lasts until a person acts.
func needsOperator(err error) bool {
	var r *refusal
	var other *generationError
	return isIdentity(err) || errors.As(err, &other) ||
		errors.As(err, &r) && (r.status == http.StatusConflict || r.status == http.StatusPreconditionFailed || r.status == http.StatusGone)
}

// loggedElsewhere reports whether an error about another member is logged with more
// detail than a failed dial.
func loggedElsewhere(err error) bool {
	var r *refusal
	var other *generationError
	return isIdentity(err) || errors.As(err, &other) ||
		errors.As(err, &r) && (r.status == http.StatusConflict || r.text == generationText)
}

// checkAnswer checks the identity in a response. With proof, one without an identity
// does not pass, so members of earlier versions do not either.
func (t *Transport) checkAnswer(to membership.ID, answer *http.Response, proof bool) error {
	who, err := identity.Decode(answer.Header.Get(identity.Header))
	if err == nil {
		err = t.member.Seen(to).Check(who)
	}
	if err == nil && proof && !who.Known() {
		err = errNoProof
	}
	return err
}

// errNoProof refuses a response that any process may have sent.
var errNoProof = errors.New("peer: the answer does not show that it is from the member")

// logOtherGeneration logs once that a member, or one that was, belongs to another cluster
// since --force-new-cluster. About other IDs, which a stranger may make up, there is no
// line.
func (t *Transport) logOtherGeneration(id membership.ID, url string) {
	if !t.lists(id) && !t.member.Removed(id) {
		return
	}
	t.mu.Lock()
	logged := t.otherGenerations[id]
	t.otherGenerations[id] = true
	t.mu.Unlock()
	if logged {
		return
	}
	url = clipped(url)
	if t.member.Identity().Generation == "" {
		t.log.Error(fmt.Sprintf("member %s at %s was made a cluster of its own with --force-new-cluster; "+
			"this cluster goes on without it: remove it with DELETE /v2/members/%s", t.named(id), url, id))
		return
	}
	t.log.Error(fmt.Sprintf("member %s at %s does not belong to this cluster, which began again with --force-new-cluster; "+
		"it is not reached any more: stop it, or give it an empty data directory and add it to this cluster", id, url))
}

// refuseOwnID reports whether another process has sent a request under this member's own
// ID, and then answers it.
func (t *Transport) refuseOwnID(w http.ResponseWriter, r *http.Request) bool {
	from, err := membership.ParseID(r.Header.Get(headerFrom))
	if err != nil || from != t.member.ID() {
		return false
	}
	who, err := identity.Decode(r.Header.Get(identity.Header))
	if err != nil || !who.Known() || who.Session == t.member.Identity().Session {
		return false // an earlier version, or a URL that leads back to this process
	}
	if t.seldom.ok("twice") {
		t.log.Error(fmt.Sprintf("another process runs as this member, %s, at %s: %v",
			t.named(from), clipped(cmp.Or(r.Header.Get(headerURLs), r.RemoteAddr)), identity.ErrTwoProcesses))
	}
	http.Error(w, identity.ErrTwoProcesses.Error(), http.StatusConflict)
	return true
}

// clipped is what a log line shows of a text that a stranger may have sent.
func clipped(text string) string {
	const most = 200 // bytes
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
