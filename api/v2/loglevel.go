package v2

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
)

// logRequestBytesMax bounds the body of a request for another log level.
const logRequestBytesMax = 64 << 10

// serveLogLevel moves the level of the log until the process ends.
func (h *handler) serveLogLevel(w http.ResponseWriter, r *http.Request) {
	var in struct{ Level string }
	if err := json.NewDecoder(io.LimitReader(r.Body, logRequestBytesMax)).Decode(&in); err != nil {
		sendMessage(w, http.StatusBadRequest, "Invalid json body")
		return
	}
	level, ok := logLevel(in.Level)
	if !ok {
		sendMessage(w, http.StatusBadRequest, "Invalid log level "+in.Level)
		return
	}
	h.cfg.LogLevel.Set(level)
	h.cfg.Logger.Info("log level set", "level", level)
	w.WriteHeader(http.StatusNoContent)
}

// logLevel reads the seven levels of the protocol, in any case, by name, first
// letter or number.
func logLevel(name string) (level slog.Level, ok bool) {
	switch strings.ToUpper(name) {
	case "CRITICAL", "C":
		return slog.LevelError + 4, true
	case "ERROR", "E", "0":
		return slog.LevelError, true
	case "WARNING", "W", "1":
		return slog.LevelWarn, true
	case "NOTICE", "N", "2":
		return slog.LevelInfo + 2, true
	case "INFO", "I", "3":
		return slog.LevelInfo, true
	case "DEBUG", "D", "4":
		return slog.LevelDebug, true
	case "TRACE", "T", "5":
		return slog.LevelDebug - 4, true
	}
	return 0, false
}
