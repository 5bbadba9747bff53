package discovery

import "strings"

// registry is the directory of all tokens, among client keys and in the store.
const (
	registryKey  = "/_etcd/registry"
	registryPath = "/1" + registryKey
)

// tokenDigits is the length of a token: 128 bits in lower-case hex digits.
const tokenDigits = 32

// keyBytesMax is the longest key that a member may register: twice the longest
// name of a host.
const keyBytesMax = 512

// The keys of a token that are not members. Being hidden, they are in no listing.
const (
	configKey = "_config"
	sizeKey   = "_config/size"
	stateKey  = "_state" // with which members of etcd 0.4 agree who was first
)

// target is what a path of the service stands for.
type target struct {
	token string // "" for /new
	key   string // below the token, "" for the token itself
}

// clientKey is the target as clients of the keys API name it.
func (t target) clientKey() string {
	if t.key == "" {
		return registryKey + "/" + t.token
	}
	return registryKey + "/" + t.token + "/" + t.key
}

// tokenPath is where the token of the target lives in the store.
func (t target) tokenPath() string { return registryPath + "/" + t.token }

// writable tells whether clients may write the key.
func (t target) writable() bool {
	return t.key != "" && (t.key[0] != '_' || t.key == stateKey)
}

// parsePath reads a decoded path. Like the clients of the protocol it takes one
// slash at the end for none. False is a path that is none of the service's.
func parsePath(path string) (target, bool) {
	if path == "/new" {
		return target{}, true
	}
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return target{}, false
	}
	token, key, deeper := strings.Cut(rest, "/")
	if !isToken(token) {
		return target{}, false
	}
	key = strings.TrimSuffix(key, "/")
	t := target{token, key}
	if deeper && key == "" && len(rest) > len(token)+1 { // "//" behind the token
		return target{}, false
	}
	return t, key == "" || key == sizeKey || isKey(key)
}

func isToken(s string) bool {
	return len(s) == tokenDigits && strings.Trim(s, "0123456789abcdef") == ""
}

// isKey tells whether a client may use the key: one segment, which the keys API
// does not take for another one.
func isKey(s string) bool {
	if len(s) > keyBytesMax || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c == '/' || c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
