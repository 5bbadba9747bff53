package client

import (
	"context"
	"encoding/json"
	"net/http"
)

// Member is a member as the members API shows it.
type Member struct {
	ID         string   `json:"id"`   // in hex
	Name       string   `json:"name"` // "" until it has started
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
}

// Members is the members API of a cluster. Errors of its methods are a *StatusError
// with the words of the server when it refuses, ErrInvalidJSON when it is no
// server, and those of Client.Do.
type Members struct{ c *Client }

// Members returns the members API.
func (c *Client) Members() Members { return Members{c: c} }

const membersPath = "/v2/members"

// List returns the members in the order of the server, which is that of their IDs.
func (m Members) List(ctx context.Context) ([]Member, error) {
	var told struct {
		Members *[]Member `json:"members"`
	}
	if err := m.do(ctx, http.MethodGet, membersPath, nil, http.StatusOK, &told); err != nil {
		return nil, err
	}
	if told.Members == nil {
		return nil, ErrInvalidJSON
	}
	return *told.Members, nil
}

// Leader returns the member that leads. While none does, the error is a
// *ClusterError.
func (m Members) Leader(ctx context.Context) (*Member, error) {
	return m.one(ctx, http.MethodGet, membersPath+"/leader", nil, http.StatusOK)
}

// Add adds a member, which is to be started afterwards.
func (m Members) Add(ctx context.Context, peerURLs []string) (*Member, error) {
	return m.one(ctx, http.MethodPost, membersPath, peerURLs, http.StatusCreated)
}

// Remove removes the member with this ID. One that has been removed before is no
// error.
func (m Members) Remove(ctx context.Context, id string) error {
	err := m.do(ctx, http.MethodDelete, membersPath+"/"+id, nil, http.StatusNoContent, nil)
	if status, ok := err.(*StatusError); ok && status.Status == http.StatusGone {
		return nil
	}
	return err
}

// Update gives the member with this ID other peer URLs.
func (m Members) Update(ctx context.Context, id string, peerURLs []string) error {
	return m.do(ctx, http.MethodPut, membersPath+"/"+id, peerURLs, http.StatusNoContent, nil)
}

func (m Members) one(ctx context.Context, method, path string, peerURLs []string, want int) (*Member, error) {
	var told Member
	if err := m.do(ctx, method, path, peerURLs, want, &told); err != nil {
		return nil, err
	}
	if told.ID == "" {
		return nil, ErrInvalidJSON
	}
	return &told, nil
}

// do sends peerURLs, unless nil, and reads the answer into v, unless nil.
func (m Members) do(ctx context.Context, method, path string, peerURLs []string, want int, v any) error {
	r := Request{Method: method, Path: path}
	if peerURLs != nil {
		body, err := json.Marshal(map[string][]string{"peerURLs": peerURLs})
		if err != nil {
			return err
		}
		r.ContentType, r.Body = "application/json", body
	}
	answer, err := m.c.Do(ctx, r)
	if err != nil {
		return err
	}
	if answer.Status != want {
		return statusError(answer)
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(answer.Body, v); err != nil {
		return ErrInvalidJSON
	}
	return nil
}

// statusError takes the words of the server from an answer, if there are any.
func statusError(answer *Answer) *StatusError {
	var told struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(answer.Body, &told) != nil {
		told.Message = ""
	}
	return &StatusError{Status: answer.Status, Message: told.Message}
}
