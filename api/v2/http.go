package v2

import (
	"log/slog"
	"net/http"
	"time"
)

// ServerConfig tunes the HTTP server of the client port. A zero field takes the
// default named beside it.
type ServerConfig struct {
	ReadHeaderTimeout time.Duration // a request's head must arrive within; 10s
	IdleTimeout       time.Duration // a connection may rest between requests; 5m
	MaxHeaderBytes    int           // a longer head is answered with 431; 1 MiB
	Logger            *slog.Logger  // discard
}

// NewHTTPServer returns a server for h without listeners. It sets no limit on
// the time of a whole request or answer: a watch may rest for days.
func NewHTTPServer(h http.Handler, cfg ServerConfig) *http.Server {
	if cfg.ReadHeaderTimeout == 0 {
		cfg.ReadHeaderTimeout = 10 * time.Second
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = 5 * time.Minute
	}
	if cfg.MaxHeaderBytes == 0 {
		cfg.MaxHeaderBytes = 1 << 20
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: cfg.ReadHeaderTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn),
	}
}
