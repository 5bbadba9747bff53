package v2

import (
	"log/slog"
	"net/http"
	"time"
)

const (
	// readHeaderTimeout is how long the head of a request may take to arrive.
	readHeaderTimeout = 10 * time.Second
	// idleTimeout is how long a connection may rest between requests.
	idleTimeout = 5 * time.Minute
	// headerBytesMax is the longest head; a longer one is answered with 431.
	headerBytesMax = 1 << 20
)

// NewHTTPServer returns a server for h without listeners, which writes what it
// has to complain about to log. It sets no limit on the time of a whole request
// or answer: a watch may rest for days.
func NewHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytesMax,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
