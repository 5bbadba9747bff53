//go:build !linux

package snap

import bolt "go.etcd.io/bbolt"

// forget does nothing: what the advice does here is not known.
func forget(*bolt.DB) {}
