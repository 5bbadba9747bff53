package store

// Node is one file or directory at one moment. Nodes are immutable: a write
// makes a new record and leaves the old one to whoever still reads it, so a
// *Node may be kept and shared without a lock.
type Node struct {
	Path     string // whole-store path without trailing slash, "/1/foo"; "/" for the root
	Value    string // any bytes; empty for a directory
	Created  uint64 // etcd index of the creation; 0 for the root
	Modified uint64 // etcd index of the last change
	Expires  int64  // cluster time of expiry in Unix nanoseconds; 0 for never
	Dir      bool
}
