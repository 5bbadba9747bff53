package store

// Event is what one successful write did. Node is the key as it is after the
// write (for Delete, CompareAndDelete and Expire a record without value whose
// Modified is the index of the removal), Prev the record that was replaced or
// removed.
type Event struct {
	Action  Action
	Node    *Node
	Prev    *Node // nil when the key did not exist before
	Now     int64 // cluster time of the write, Unix nanoseconds; TTLs shown in the event count from here
	Refresh bool  // a TTL refresh: takes its place in the history, reaches no watcher
}

// Index is the etcd index at which the event happened.
func (e *Event) Index() uint64 { return e.Node.Modified }
