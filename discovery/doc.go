// Package discovery finds out who else is in a cluster.
//
// Join lets the founding members of a new cluster meet at a URL, which is a
// directory of any v2 API: each writes itself down and waits for the others. Join
// works on while that server is away, and never believes what it reads.
//
// SRV makes an initial cluster of DNS records, all of them or none: a name server
// that fails is asked again, and what it says is checked.
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
