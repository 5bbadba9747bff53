// Package proxy passes the requests of clients on to the members of a cluster.
//
// A Proxy asks the members at their peer URLs who they are, again and again, and
// sends requests to their client URLs: to the first that is available, and to the
// next one when that cannot be reached. It keeps the last list of members that it
// got, in memory and in a file, however bad the answers are later. An endpoint
// that failed is left alone for a while and must answer a probe before it gets
// requests again. An endpoint in use is probed beside the traffic, so that one which
// falls silent without closing its connections is found within two seconds.
//
// Every success that a client sees comes from a member. A request that gets no
// response from one is refused, or its connection is cut. A response of a member goes
// through as it comes, byte for byte and without delay, so long polls and streams work
// as they do at a member. Long polls that ask the same share one request to a member. A
// request that comes back to the proxy that sent it is refused, so that proxies which
// stand in a ring do no harm.
//
// # Retries
//
// A request whose connection fails is sent to the next endpoint, a write too: it
// may then happen twice, or happen although the answer says that it could not be
// sent. That is how proxies of etcd 2.3 behave, and clients are ready for it. A write
// whose endpoint falls silent is not sent again once it may have arrived: it is refused
// with 504. Once a member has begun to answer nothing is sent again, except what only
// reads and of which the client has seen nothing that the new answer could contradict.
//
// # Use
//
// One goroutine drives the Proxy with Run; ServeHTTP may be called from the
// moment Ready tells, by any number of goroutines, and is the handler of the
// client port. It needs no http.ServeMux and must not stand behind one.
//
//	kept, err := proxy.OpenPeers(dataDir)  // makes DIR/proxy; an error ends the start
//	urls := kept.URLs()                    // from here on: which sources, and in which order
//	if len(urls) == 0 { urls = ... }       // is the caller's choice
//	p := proxy.New(proxy.Config{
//		PeerURLs: urls,
//		Kept:     kept,
//		Members:  discovery.New(...),
//		TLS:      settings,                // for the client URLs of members
//	})
//	go p.Run(ctx)
//	<-p.Ready()                            // then open the listeners and serve p
//
// When the process stops, the listeners and the requests that are open end first,
// then Run.
package proxy
