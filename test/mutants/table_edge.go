package main

// edgeMutants are mistakes at the edge: proxy, API and command line.
var edgeMutants = []mutant{
	{
		name: "a content type with parameters is refused",
		file: "api/v2/members.go",
		old:  "return err == nil && media == \"application/json\"",
		new:  "return err == nil && contentType == media",
		test: memberAPI,
	},
	{
		name: "member 0 is passed on",
		file: "api/v2/members.go",
		old:  "return id, err == nil && id != 0",
		new:  "return id, err == nil",
		test: memberAPI,
	},
	{
		name: "a proxy lets net/http answer for it",
		file: "proxy/proxy.go",
		old:  "if !a.begun {",
		new:  "if false {",
		test: proxyTests,
	},
	{
		name: "a proxy drops the request of a half-closed client",
		file: "proxy/halfclosed.go",
		old:  "context.WithCancelCause(context.WithoutCancel(r.Context()))",
		new:  "context.WithCancelCause(r.Context())",
		test: proxyTests,
	},
	{
		name: "a write is repeated after silence",
		file: "proxy/liveness.go",
		old:  "if !o.repeatable() && (isTimeout(err)",
		new:  "if false && (isTimeout(err)",
		test: proxyTests,
	},
	{
		name: "a write does not wait for its member",
		file: "proxy/liveness.go",
		old:  "grace = p.cfg.SilentWriteTimeout",
		new:  "grace = 0",
		test: proxyTests,
	},
	{
		name: "a waiting request triggers no probe",
		file: "proxy/endpoint.go",
		old:  "if e.doubted {",
		new:  "if false {",
		test: proxyTests,
	},
	{
		name: "a listing cut by the read time-out ends in order",
		file: "proxy/answer.go",
		old:  "case isTimeout(err) && watches(r):",
		new:  "case isTimeout(err):",
		test: proxyTests,
	},
	{
		name: "a proxy forgets the peer TLS files at client URLs",
		file: "cmd/etcd/listen.go",
		old:  "return tlsconf.ClientOf(client, peer) }",
		new:  "return client.Client() }",
		test: []string{"./cmd/etcd", "-run", "TestProxyWithTwoCAs"},
	},
	{
		name: "an open peer port draws no warning",
		file: "cmd/etcd/tls.go",
		old:  "u.Scheme == \"http\" && !loopback",
		new:  "u.Scheme == \"http\" && loopback",
		test: []string{"./cmd/etcd", "-run", "TestWarnOpen"},
	},
	{
		name: "a living key shows an expiration in the past",
		file: "api/v2/encode.go",
		old:  "max(n.Expires+at.offset, at.floor)",
		new:  "max(n.Expires+at.offset, 0)",
		test: []string{"./test/ttl", "-run", "WithoutQuorum"},
	},
}
