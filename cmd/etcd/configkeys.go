package main

import (
	"slices"

	"github.com/spf13/pflag"
)

// transportSecurity maps the keys of the two maps for certificates in a
// configuration file to flags.
var transportSecurity = map[string]map[string]string{
	"client-transport-security": {
		"ca-file":          "ca-file",
		"cert-file":        "cert-file",
		"key-file":         "key-file",
		"client-cert-auth": "client-cert-auth",
		"trusted-ca-file":  "trusted-ca-file",
		"client-crl-file":  "client-crl-file",
		"auto-tls":         "auto-tls",
	},
	"peer-transport-security": {
		"ca-file":          "peer-ca-file",
		"cert-file":        "peer-cert-file",
		"key-file":         "peer-key-file",
		"client-cert-auth": "peer-client-cert-auth",
		"trusted-ca-file":  "peer-trusted-ca-file",
		"client-crl-file":  "peer-crl-file",
		"allowed-cn":       "peer-cert-allowed-cn",
		"auto-tls":         "peer-auto-tls",
	},
}

// keysWithoutEffect are keys that etcd 3.4 knows and that have no flag here.
var keysWithoutEffect = [...]string{
	"auth-token", "auth-token-ttl", "auto-compaction-mode", "auto-compaction-retention",
	"backend-batch-interval", "backend-batch-limit", "bcrypt-cost", "cipher-suites",
	"enable-grpc-gateway", "enable-v2",
	"experimental-backend-bbolt-freelist-type", "experimental-compaction-batch-limit",
	"experimental-corrupt-check-time", "experimental-enable-lease-checkpoint",
	"experimental-enable-v2v3", "experimental-initial-corrupt-check",
	"experimental-warning-apply-duration", "experimental-watch-progress-notify-interval",
	"grpc-keepalive-interval", "grpc-keepalive-min-time", "grpc-keepalive-timeout",
	"host-whitelist", "initial-election-tick-advance", "listen-metrics-urls",
	"log-output", "log-outputs", "logger", "max-request-bytes", "max-txn-ops", "metrics",
	"pre-vote", "quota-backend-bytes", "unsafe-no-fsync",
}

// knownKeys maps the keys that may stand in a configuration file to their flags;
// "" stands for a key without one.
func knownKeys(flags *pflag.FlagSet) map[string]string {
	keys := make(map[string]string)
	for name := range transportSecurity {
		keys[name] = ""
	}
	for _, key := range keysWithoutEffect {
		keys[key] = ""
	}
	flags.VisitAll(func(f *pflag.Flag) {
		switch {
		case slices.Contains([]string{"config-file", "version", "help"}, f.Name):
		case slices.Contains(ignoredFlags[:], f.Name): // no file of old had them in this form
		default:
			keys[f.Name] = f.Name
		}
	})
	return keys
}
