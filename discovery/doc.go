// Package discovery finds out who else is in a cluster.
//
// A Client asks the members of a cluster that runs already, at their peer URLs:
// who belongs to it, which versions they speak, and whether a newcomer is the one
// they expect. Questions are HTTP GETs that change nothing at the other end. Each
// has a time limit of its own, an answer is read up to a limit, and what a member
// answers is checked before it is believed. A member that cannot be asked is
// logged and the next one is asked.
//
// Nothing here starts a goroutine that outlives a call or keeps a connection open.
package discovery
