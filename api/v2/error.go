package v2

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"etcd2/store"
)

// status is the HTTP status of a refusal. This is the only place that knows it.
func status(c store.Code) int {
	switch c {
	case store.KeyNotFound:
		return http.StatusNotFound
	case store.NotFile, store.DirNotEmpty:
		return http.StatusForbidden
	case store.CompareFailed, store.NodeExist:
		return http.StatusPreconditionFailed
	case store.Unauthorized:
		return http.StatusUnauthorized
	case store.RaftInternal, store.DuringElection:
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// message is the constant text of a refusal.
func message(c store.Code) string {
	switch c {
	case store.KeyNotFound:
		return "Key not found"
	case store.CompareFailed:
		return "Compare failed"
	case store.NotFile:
		return "Not a file"
	case store.NotDir:
		return "Not a directory"
	case store.NodeExist:
		return "Key already exists"
	case store.RootReadOnly:
		return "Root is read only"
	case store.DirNotEmpty:
		return "Directory not empty"
	case store.Unauthorized:
		return "The request requires user authentication"
	case store.PrevValueEmpty:
		return "PrevValue is Required in POST form"
	case store.TTLNaN:
		return "The given TTL in POST form is not a number"
	case store.IndexNaN:
		return "The given index in POST form is not a number"
	case store.InvalidField:
		return "Invalid field"
	case store.InvalidForm:
		return "Invalid POST form"
	case store.RefreshValue:
		return "Value provided on refresh"
	case store.RefreshTTLNeeded:
		return "A TTL must be provided on refresh"
	case store.RaftInternal:
		return "Raft Internal Error"
	case store.DuringElection:
		return "During Leader Election"
	case store.WatcherCleared:
		return "watcher is cleared due to etcd recovery"
	case store.EventCleared:
		return "The event in requested index is outdated and cleared"
	}
	return ""
}

// refusal is err as clients see it: what is no refusal of the store becomes
// code 300.
func refusal(err error) *store.Error {
	if e, ok := errors.AsType[*store.Error](err); ok {
		return e
	}
	return &store.Error{Code: store.RaftInternal, Cause: err.Error()}
}

// appendError appends the JSON of a refusal and a newline.
func appendError(dst []byte, e *store.Error) []byte {
	dst = append(dst, `{"errorCode":`...)
	dst = strconv.AppendInt(dst, int64(e.Code), 10)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, message(e.Code))
	cause := strings.TrimPrefix(e.Cause, "/1")
	if e.Code == store.RootReadOnly {
		cause = "/" // the one refusal that gives the root a name
	}
	if cause != "" {
		dst = append(dst, `,"cause":`...)
		dst = appendString(dst, cause)
	}
	dst = append(dst, `,"index":`...)
	dst = strconv.AppendUint(dst, e.Index, 10)
	return append(dst, "}\n"...)
}
