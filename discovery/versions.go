package discovery

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"etcd2/membership"
	"etcd2/version"
)

// versionTimeout is how long one URL may take to tell its version.
const versionTimeout = 5 * time.Second

// compatible asks the members for the version of their cluster. All that answer
// have to name one that this server speaks, and one at least has to answer.
// Complaints are logged in the words of etcd 2.3.
func (c *Client) compatible(ctx context.Context, members []membership.Member) bool {
	answered := false
	for _, m := range members {
		text, ok := c.clusterVersion(ctx, m)
		if !ok {
			c.log.Warn(fmt.Sprintf("cannot get the version of member %s", m.ID))
			continue
		}
		v, err := version.Parse(text)
		switch {
		case err != nil:
			c.log.Error(fmt.Sprintf("cannot understand the cluster version of member %s (%v)", m.ID, err))
			return false
		case v.Compare(version.Lowest()) < 0:
			c.log.Warn(fmt.Sprintf("the running cluster version(%s) is lower than the minimal cluster version(%s) supported", text, version.MinCluster))
			return false
		case v.Compare(version.OfCluster()) > 0:
			c.log.Warn(fmt.Sprintf("the running cluster version(%s) is higher than the maximum cluster version(%s) supported", text, version.Cluster))
			return false
		}
		answered = true
	}
	return answered
}

// clusterVersion asks the peer URLs of a member in turn; false when none answers.
func (c *Client) clusterVersion(ctx context.Context, m membership.Member) (string, bool) {
	for _, u := range m.PeerURLs {
		answer, body, err := c.get(ctx, u+"/version", versionTimeout)
		if err == nil && answer.StatusCode == http.StatusNotFound {
			return "2.0.0", true // which did not have this path yet
		}
		var told struct {
			Cluster string `json:"etcdcluster"`
		}
		if err == nil {
			err = json.Unmarshal(body, &told)
		}
		if err == nil {
			return told.Cluster, true
		}
		c.log.Warn(fmt.Sprintf("failed to reach the peerURL(%s) of member %s (%v)", u, m.ID, err))
	}
	return "", false
}
