package v2

import "net/http/pprof"

// addPprof adds the profiles that the protocol names. They stand in this
// handler and not in http.DefaultServeMux, which nobody serves.
func addPprof(routes map[string]route) {
	const base = "/debug/pprof"
	routes[base] = route{"", pprof.Index}
	routes[base+"/profile"] = route{"", pprof.Profile}
	routes[base+"/symbol"] = route{"", pprof.Symbol}
	routes[base+"/cmdline"] = route{"", pprof.Cmdline}
	for _, name := range []string{"heap", "goroutine", "threadcreate", "block"} {
		routes[base+"/"+name] = route{"", pprof.Handler(name).ServeHTTP}
	}
}
