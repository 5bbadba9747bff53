package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Node is a key or a directory.
type Node struct {
	Key           string     `json:"key"` // "" for the root
	Dir           bool       `json:"dir"`
	Value         string     `json:"value"`
	Nodes         []Node     `json:"nodes"` // of a directory, where the request asked for them
	CreatedIndex  uint64     `json:"createdIndex"`
	ModifiedIndex uint64     `json:"modifiedIndex"`
	Expiration    *time.Time `json:"expiration"` // nil: never
	TTL           int64      `json:"ttl"`        // seconds left; 0 without expiration
}

// Response is an answer of the keys API.
type Response struct {
	Action    string // what was done, or what happened to a watched key
	Node      Node
	PrevNode  *Node  // what was there before; nil without
	Index     uint64 // etcd index of the answer; of a watch, when it began
	ClusterID string // in hex; "" if the endpoint did not tell
}

// Keys is the keys API of a cluster.
type Keys struct {
	c      *Client
	prefix string
}

// Keys returns the keys API.
func (c *Client) Keys() Keys { return c.KeysBelow("/v2/keys") }

// KeysBelow returns a keys API that an endpoint serves below another path.
func (c *Client) KeysBelow(path string) Keys { return Keys{c: c, prefix: strings.TrimRight(path, "/")} }

// GetOptions change what Get reads.
type GetOptions struct {
	Recursive bool // all that lies below a directory
	Sorted    bool // by key
	Quorum    bool // the latest there is, agreed on by the cluster
}

// PrevExist is a condition of a write.
type PrevExist string

// The conditions.
const (
	PrevIgnore  PrevExist = ""
	PrevPresent PrevExist = "true"
	PrevMissing PrevExist = "false"
)

// SetOptions change what Set writes, and when.
type SetOptions struct {
	PrevValue string        // write only over this value; "": any
	PrevIndex uint64        // write only over this modifiedIndex; 0: any
	PrevExist PrevExist     // write only if there is a key, or none
	TTL       time.Duration // whole seconds; 0 or less: for ever
	Refresh   bool          // keep the value and tell no watcher
	Dir       bool          // write a directory
}

// DeleteOptions change what Delete deletes, and when.
type DeleteOptions struct {
	PrevValue string
	PrevIndex uint64
	Recursive bool // a directory with all that lies below
	Dir       bool // an empty directory too
}

// Get reads a key or lists a directory. Its errors, and those of the other methods
// of Keys, are a *Error when the server refuses, ErrInvalidJSON or ErrEmptyBody
// when it is no server, and those of Client.Do.
func (k Keys) Get(ctx context.Context, key string, o GetOptions) (*Response, error) {
	return k.do(ctx, Request{Method: http.MethodGet, Path: k.path(key), Query: url.Values{
		"recursive": {strconv.FormatBool(o.Recursive)},
		"sorted":    {strconv.FormatBool(o.Sorted)},
		"quorum":    {strconv.FormatBool(o.Quorum)},
	}})
}

// Set writes a key or makes a directory.
func (k Keys) Set(ctx context.Context, key, value string, o SetOptions) (*Response, error) {
	query := conditions(o.PrevValue, o.PrevIndex)
	if o.PrevExist != PrevIgnore {
		query.Set("prevExist", string(o.PrevExist))
	}
	form := url.Values{}
	if o.Dir {
		query.Set("dir", "true")
	}
	if !o.Dir && !o.Refresh {
		form.Set("value", value)
	}
	if o.Refresh {
		form.Set("refresh", "true")
		query.Set("prevExist", string(PrevPresent))
	}
	return k.write(ctx, http.MethodPut, key, query, form, o.TTL)
}

// Create writes a key that must not exist.
func (k Keys) Create(ctx context.Context, key, value string, ttl time.Duration) (*Response, error) {
	return k.Set(ctx, key, value, SetOptions{PrevExist: PrevMissing, TTL: ttl})
}

// Update writes a key that must exist.
func (k Keys) Update(ctx context.Context, key, value string, ttl time.Duration) (*Response, error) {
	return k.Set(ctx, key, value, SetOptions{PrevExist: PrevPresent, TTL: ttl})
}

// CreateInOrder writes a new key below dir, whose name sorts behind those made so
// before. It is not safe to repeat: each endpoint tried may have made a key.
func (k Keys) CreateInOrder(ctx context.Context, dir, value string, ttl time.Duration) (*Response, error) {
	return k.write(ctx, http.MethodPost, dir, url.Values{}, url.Values{"value": {value}}, ttl)
}

// Delete deletes a key or a directory.
func (k Keys) Delete(ctx context.Context, key string, o DeleteOptions) (*Response, error) {
	query := conditions(o.PrevValue, o.PrevIndex)
	if o.Recursive {
		query.Set("recursive", "true")
	}
	if o.Dir {
		query.Set("dir", "true")
	}
	return k.do(ctx, Request{Method: http.MethodDelete, Path: k.path(key), Query: query})
}

func conditions(value string, index uint64) url.Values {
	query := url.Values{}
	if value != "" {
		query.Set("prevValue", value)
	}
	if index != 0 {
		query.Set("prevIndex", strconv.FormatUint(index, 10))
	}
	return query
}

func (k Keys) write(ctx context.Context, method, key string, query, form url.Values, ttl time.Duration) (*Response, error) {
	if ttl > 0 {
		form.Set("ttl", strconv.FormatInt(int64((ttl+time.Second-1)/time.Second), 10))
	}
	return k.do(ctx, Request{
		Method: method, Path: k.path(key), Query: query,
		ContentType: "application/x-www-form-urlencoded", Body: []byte(form.Encode()),
	})
}

// path is the path of a key. Slashes at its end stay.
func (k Keys) path(key string) string {
	if key != "" && key[0] != '/' {
		key = "/" + key
	}
	return k.prefix + key
}

func (k Keys) do(ctx context.Context, r Request) (*Response, error) {
	answer, err := k.c.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	return decodeResponse(answer)
}

// decodeResponse reads an answer of the keys API.
func decodeResponse(answer *Answer) (*Response, error) {
	if answer.Status != http.StatusOK && answer.Status != http.StatusCreated {
		refusal := new(Error)
		if err := json.Unmarshal(answer.Body, refusal); err != nil || refusal.Code == 0 {
			return nil, ErrInvalidJSON
		}
		return nil, refusal
	}
	if len(answer.Body) == 0 {
		return nil, ErrEmptyBody
	}
	var told struct {
		Action   string `json:"action"`
		Node     *Node  `json:"node"`
		PrevNode *Node  `json:"prevNode"`
	}
	if err := json.Unmarshal(answer.Body, &told); err != nil || told.Node == nil {
		return nil, ErrInvalidJSON
	}
	r := &Response{Action: told.Action, Node: *told.Node, PrevNode: told.PrevNode, ClusterID: answer.Header.Get("X-Etcd-Cluster-Id")}
	if index := answer.Header.Get("X-Etcd-Index"); index != "" {
		n, err := strconv.ParseUint(index, 10, 64)
		if err != nil {
			return nil, ErrInvalidJSON
		}
		r.Index = n
	}
	return r, nil
}
