package store

import "time"

// Action is the kind of an operation and of the event it makes.
type Action uint8

// The actions. CreateInOrder is a POST; its event reports Create.
const (
	Get Action = iota + 1
	Set
	Create
	CreateInOrder
	Update
	CompareAndSwap
	Delete
	CompareAndDelete
	Expire
)

// String is the name of the action in an event's JSON.
func (a Action) String() string {
	switch a {
	case Get:
		return "get"
	case Set:
		return "set"
	case Create, CreateInOrder:
		return "create"
	case Update:
		return "update"
	case CompareAndSwap:
		return "compareAndSwap"
	case Delete:
		return "delete"
	case CompareAndDelete:
		return "compareAndDelete"
	case Expire:
		return "expire"
	}
	return "unknown"
}

// Op is one change of the tree, as it travels through the log. Applying the
// same ops in the same order gives the same tree on every member, so whatever
// depends on a clock comes in with the op.
type Op struct {
	Action    Action
	Path      string        // cleaned whole-store path without trailing slash, "/1/foo"; "/" is the root
	Value     string        // any bytes
	Dir       bool          // Set, Create, CreateInOrder: make a directory; Delete: a directory may go
	Recursive bool          // Delete: the children may go too
	Refresh   bool          // change the TTL only: keep the value, tell no watcher
	HasTTL    bool          // without it the result is permanent
	TTL       time.Duration // from Now on; 0 with HasTTL expires at once
	PrevValue string        // compare: "" is no condition
	PrevIndex uint64        // compare: 0 is no condition
	Now       int64         // cluster time at which the op was proposed, Unix nanoseconds; Expire: the cutoff
}
