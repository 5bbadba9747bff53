package store

import "fmt"

// Code is the number a client sees in "errorCode". The numbers and their
// meanings are part of the v2 protocol and never change.
type Code int

// The refusals of the v2 protocol. Those below 200 come from the store, those
// from 200 on from reading a request, 300 and above from the server.
const (
	KeyNotFound      Code = 100 // first missing path component
	CompareFailed    Code = 101 // "[prevValue != stored] [prevIndex != modifiedIndex]"
	NotFile          Code = 102 // a directory where a file is needed
	NotDir           Code = 104 // a file where a directory is needed
	NodeExist        Code = 105 // create of an existing key
	RootReadOnly     Code = 107 // write to "/"
	DirNotEmpty      Code = 108 // delete of a directory that has children
	Unauthorized     Code = 110 // the user lacks the permission
	PrevValueEmpty   Code = 201 // prevValue given but empty
	TTLNaN           Code = 202 // ttl is not a number, or does not fit
	IndexNaN         Code = 203 // prevIndex or waitIndex is not a number
	InvalidField     Code = 209 // a boolean parameter is not a boolean
	InvalidForm      Code = 210 // the form cannot be parsed
	RefreshValue     Code = 211 // value given together with refresh
	RefreshTTLNeeded Code = 212 // refresh without ttl
	RaftInternal     Code = 300 // the log refused or timed out
	DuringElection   Code = 301 // no leader
	WatcherCleared   Code = 400 // the watcher cannot go on
	EventCleared     Code = 401 // waitIndex is older than the history
)

// Error is a refusal meant for the client.
type Error struct {
	Code  Code
	Cause string // the key or parameter at fault; paths are whole-store paths such as "/1/foo"
	Index uint64 // etcd index at the time of the refusal; 0 when the store was not asked
}

// Error names the code and the cause, for logs; clients get JSON from package api.
func (e *Error) Error() string {
	return fmt.Sprintf("store: error %d (%s) [%d]", int(e.Code), e.Cause, e.Index)
}
