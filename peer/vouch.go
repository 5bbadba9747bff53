package peer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"etcd2/membership"
)

// questionMember asks a listed member about an unlisted peer: the body is an ID, the
// response is vouchYes if that is a member.
const questionMember = "member"

// vouchYes is the positive response.
const vouchYes = "yes"

const (
	// vouchPeriod is the least time between two rounds of questions about unlisted
	// peers, whatever strangers do.
	vouchPeriod = 100 * time.Millisecond
	// vouchPauseMax is the longest pause before one unlisted peer is asked about again.
	vouchPauseMax = 5 * time.Second
	// vouchTimeout is how long one answer may take.
	vouchTimeout = 2 * time.Second
)

// answerMember answers questionMember.
func (t *Transport) answerMember(body []byte) []byte {
	id, err := membership.ParseID(string(body))
	known := func(m membership.Member) bool { return m.ID == id }
	if err == nil && slices.ContainsFunc(t.member.Members(), known) {
		return []byte(vouchYes)
	}
	return []byte("no")
}

// seekVoucher asks the listed members about the unlisted peer at the other end until
// one of them knows it as a member, or ctx ends.
func (in *inbound) seekVoucher(ctx context.Context) {
	t := in.t
	for pause := vouchPeriod; ; pause = min(2*pause, vouchPauseMax) {
		if t.vouchTurn(ctx) && t.vouched(ctx, in.from) {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
	if err := t.meet(in.link, in.told); err != nil {
		if isIdentity(err) {
			t.logRefused(in.from, strings.Join(in.link.targets(), ","), err)
		}
		in.close()
		return
	}
	in.link.vouched.Store(true)
	t.log.Info("another member knows the unlisted peer as a member", "peer", in.from)
}

// vouchTurn waits for the turn of a round of questions, or returns false when ctx ends
// first. A stream that has ended holds no turn.
func (t *Transport) vouchTurn(ctx context.Context) bool {
	for {
		t.mu.Lock()
		wait := time.Until(t.nextVouch)
		if wait <= 0 {
			t.nextVouch = time.Now().Add(vouchPeriod)
		}
		t.mu.Unlock()
		if wait <= 0 {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
	}
}

// vouched reports whether one of the listed members knows id as a member.
func (t *Transport) vouched(ctx context.Context, id membership.ID) bool {
	ctx, cancel := context.WithTimeout(ctx, vouchTimeout)
	defer cancel()
	var listed []*link
	t.mu.Lock()
	for _, l := range t.links {
		if !l.unlisted {
			listed = append(listed, l)
		}
	}
	t.mu.Unlock()
	answers := make(chan bool, len(listed)) // one from each
	for _, l := range listed {
		go func() { answers <- t.askMember(ctx, l, id) }()
	}
	yes := false
	for range listed {
		if <-answers {
			yes = true
			cancel() // the others are not needed
		}
	}
	return yes
}

// askMember asks one listed member. One of an earlier version does not know the
// question, but shows its list of members to everybody.
func (t *Transport) askMember(ctx context.Context, l *link, id membership.ID) bool {
	met := t.member.Seen(l.id).Known() && !l.anonymous() // after a downgrade it is as if never met
	answer, err := t.ask(ctx, l, questionMember, []byte(id.String()), met)
	var unknown *AskError
	if met || !errors.As(err, &unknown) {
		return err == nil && string(answer) == vouchYes
	}
	list, err := t.membersAt(ctx, l)
	return err == nil && slices.Contains(list, id)
}
