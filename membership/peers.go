package membership

import (
	"slices"
	"strings"
)

// Peers is an initial cluster: member names and the sorted peer URLs of each.
type Peers map[string][]string

// ParsePeers reads the form of --initial-cluster, "a=http://h:2380,b=http://i:2380".
// Empty items are skipped, a repeated name gathers its URLs, names are taken
// literally, blanks included. An item without "=" has an empty URL and so fails
// the rules of CheckURLs, whose errors ParsePeers returns. The empty text is an
// empty cluster.
func ParsePeers(text string) (Peers, error) {
	peers := make(Peers)
	for item := range strings.SplitSeq(text, ",") {
		if item == "" {
			continue
		}
		name, u, _ := strings.Cut(item, "=")
		peers[name] = append(peers[name], u)
	}
	for name, urls := range peers {
		checked, err := CheckURLs(urls)
		if err != nil {
			return nil, err
		}
		peers[name] = checked
	}
	return peers, nil
}

// String is the printed form: name=url pairs sorted as strings, comma separated.
func (p Peers) String() string {
	var pairs []string
	for name, urls := range p {
		for _, u := range urls {
			pairs = append(pairs, name+"="+u)
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// Members computes the founding members, in ascending order of ID.
func (p Peers) Members(token string) []Member {
	members := make([]Member, 0, len(p))
	for name, urls := range p {
		members = append(members, NewMember(name, urls, token, nil))
	}
	return sortByID(members)
}

// URLs returns every peer URL of the cluster, sorted, repeated ones repeated.
func (p Peers) URLs() []string {
	var all []string
	for _, urls := range p {
		all = append(all, urls...)
	}
	slices.Sort(all)
	return all
}
