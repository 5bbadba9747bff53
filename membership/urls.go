package membership

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// ErrNoURLs is the refusal of an empty list of URLs.
var ErrNoURLs = errors.New("no valid URLs given")

// ParseURLs reads a comma separated list of URLs as flags have it and returns
// them sorted as strings.
func ParseURLs(list string) ([]string, error) {
	return CheckURLs(strings.Split(list, ","))
}

// CheckURLs returns the URLs trimmed and sorted as strings. Each must be http or
// https with a host and a port and without a path, not even "/"; the error text
// is what clients of the members API and users of the command line see.
func CheckURLs(urls []string) ([]string, error) {
	if len(urls) == 0 {
		return nil, ErrNoURLs
	}
	checked := make([]string, 0, len(urls))
	for _, text := range urls {
		text = strings.TrimSpace(text)
		u, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		if u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("URL scheme must be http or https: %s", text)
		}
		if _, _, err := net.SplitHostPort(u.Host); err != nil {
			return nil, fmt.Errorf(`URL address does not have the form "host:port": %s`, text)
		}
		if u.Path != "" {
			return nil, fmt.Errorf("URL must not contain a path: %s", text)
		}
		checked = append(checked, u.String())
	}
	slices.Sort(checked)
	return checked, nil
}
