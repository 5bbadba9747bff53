// Package membership knows who belongs to a cluster: how members and clusters
// get their IDs, which URLs they may have, how an initial cluster is written on
// the command line, and how the whole is kept in the store.
//
// Members live in the store's reserved directory /0. A Cluster is a view built
// from that directory and nothing else, so there is one source of truth and
// every member computes the same view from the same log.
//
// Nothing here touches the network except through a Resolver handed in, and
// nothing here keeps a goroutine or changes after it was made: all values may be
// shared freely once built.
package membership
