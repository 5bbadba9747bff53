package discovery

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"etcd2/store"
)

// sizeDefault is the size of a cluster whose founder does not name one.
const sizeDefault = 3

// serveNew makes a token and answers its URL. GET changes something here: that is
// what the protocol has always been.
func (s *Service) serveNew(w http.ResponseWriter, r *http.Request, client *client) {
	switch r.Method {
	case http.MethodGet, http.MethodPut, http.MethodPost:
	default:
		methodNotAllowed(w, "GET,PUT,POST")
		return
	}
	size, err := s.size(r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	base, err := s.base(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !client.mayMint() {
		s.cfg.Observe.Refused(LimitRate)
		w.Header().Set("Retry-After", "60")
		http.Error(w, "too many tokens were made from this address; try again in a minute", http.StatusTooManyRequests)
		return
	}
	if !s.reserveToken() {
		s.cfg.Observe.Refused(LimitTokens)
		s.cfg.Logger.Warn("no token made: as many as there may be are alive", "max", s.cfg.TokensMax)
		w.Header().Set("Retry-After", "3600")
		http.Error(w, "there are too many tokens; try again when some of them have expired", http.StatusServiceUnavailable)
		return
	}
	defer s.releaseToken()
	token, err := s.mint(context.WithoutCancel(r.Context()), size)
	if err != nil {
		s.cfg.Logger.Warn("no token made", "error", err)
		w.Header().Set("Retry-After", "5")
		http.Error(w, "the token could not be stored; try again", http.StatusServiceUnavailable)
		return
	}
	s.cfg.Observe.Minted()
	s.cfg.Logger.Info("token made", "token", token[:8]+"…", "size", size, "client", client.address)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, base+"/"+token)
}

// size reads how many members the cluster is to have.
func (s *Service) size(query string) (int, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return 0, fmt.Errorf("the query cannot be read: %w", err)
	}
	text := values.Get("size")
	if text == "" {
		return sizeDefault, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > s.cfg.SizeMax {
		return 0, fmt.Errorf("size has to be a number from 1 to %d", s.cfg.SizeMax)
	}
	return n, nil
}

// mint stores a new token for a cluster of that size. One that gets no size serves
// nobody, is told to nobody and expires like any other.
func (s *Service) mint(ctx context.Context, size int) (string, error) {
	var random [tokenDigits / 2]byte
	rand.Read(random[:]) // never fails
	t := target{token: hex.EncodeToString(random[:])}
	_, err := s.member.Do(ctx, store.Op{Action: store.Create, Path: t.tokenPath(), Dir: true, HasTTL: true, TTL: s.cfg.TokenTTL})
	if err != nil {
		return "", fmt.Errorf("storing the token: %w", err)
	}
	_, err = s.member.Do(ctx, store.Op{Action: store.Create, Path: t.tokenPath() + "/" + sizeKey, Value: strconv.Itoa(size)})
	if err != nil {
		return "", fmt.Errorf("storing the size: %w", err)
	}
	return t.token, nil
}

// reserveToken keeps a place for one token until releaseToken, so that requests at
// the same time cannot exceed the limit together. Those at other members of the
// cluster can, by a few.
func (s *Service) reserveToken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	alive := s.minting
	if v, _, err := s.member.Get(registryPath); err == nil { // else there is none yet
		for range v.Children(registryPath) {
			alive++
		}
	}
	if alive >= s.cfg.TokensMax {
		return false
	}
	s.minting++
	return true
}

func (s *Service) releaseToken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.minting--
}

// base is what the token is appended to.
func (s *Service) base(r *http.Request) (string, error) {
	if s.cfg.URL != "" {
		return strings.TrimSuffix(s.cfg.URL, "/"), nil
	}
	u := url.URL{Scheme: "http", Host: r.Host}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	if s.cfg.TrustForwarded {
		if scheme := lastOf(r.Header.Values("X-Forwarded-Proto")); scheme == "http" || scheme == "https" {
			u.Scheme = scheme
		}
		if host := lastOf(r.Header.Values("X-Forwarded-Host")); host != "" {
			u.Host = host
		}
	}
	// The host is repeated to the one who sent it, in plain text; but what is no
	// host makes no URL.
	if again, err := url.Parse(u.String()); err != nil || again.Host != u.Host || u.Host == "" {
		return "", fmt.Errorf("%q is no host that a URL can be made of", u.Host)
	}
	return u.String(), nil
}
