// Package identity lets Kubernetes say who a caller of Data Storage is and what
// they may do: TokenReview and SubjectAccessReview. It implements datastorage.Gate.
//
// Answers are kept for a short while, so that a busy client costs the API server
// one question a minute, and a right that is taken away ends within that minute.
// How many are kept, and how many questions are under way, is bounded: tokens that
// are made up cannot use up memory, nor the API server.
package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	authentication "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorization "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/datastorage"
)

// Group is the API group of the resources that rights are given on.
const Group = "datastorage.kubernaut.ai"

const (
	yesFor     = time.Minute      // how long a yes is kept
	noFor      = 10 * time.Second // how long a no is kept
	remembered = 4096             // answers kept of each kind
	atOnce     = 64               // questions under way; further ones are refused, not queued
	maxToken   = 16 << 10         // bytes of a token that is worth asking about
	askFor     = 10 * time.Second
)

// Gate asks the API server of a cluster.
type Gate struct {
	reviews  authentication.TokenReviewInterface
	accesses authorization.SubjectAccessReviewInterface
	audience string
	callers  *cache.LRUExpireCache
	rights   *cache.LRUExpireCache
	asking   singleflight.Group
	slots    chan struct{} // one for each question under way
}

// errTooMany says that strangers ask more than the API server can be asked.
var errTooMany = errors.New("too many callers are unknown at once")

var _ datastorage.Gate = (*Gate)(nil)

// New makes a gate for tokens of one audience. It does not ask anything yet.
func New(config *rest.Config, audience string) (*Gate, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 50, 100
	who, err := authentication.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for TokenReview: %w", err)
	}
	may, err := authorization.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for SubjectAccessReview: %w", err)
	}
	return &Gate{
		reviews: who.TokenReviews(), accesses: may.SubjectAccessReviews(), audience: audience,
		callers: cache.NewLRUExpireCache(remembered), rights: cache.NewLRUExpireCache(remembered),
		slots: make(chan struct{}, atOnce),
	}, nil
}

// identified is what the API server said of a token.
type identified struct {
	caller datastorage.Caller
	known  bool
}

// Identify asks who a token stands for. When the API server cannot be asked the
// error is of class datastorage.ErrBusy.
func (g *Gate) Identify(ctx context.Context, token string) (datastorage.Caller, error) {
	if token == "" || len(token) > maxToken {
		return datastorage.Caller{}, datastorage.ErrUnauthenticated
	}
	sum := sha256.Sum256([]byte(token))
	key := string(sum[:])
	v, err := g.remember(ctx, question{g.callers, "token " + key, key, func(ctx context.Context) (any, bool, error) {
		who, err := g.review(ctx, token)
		return who, who.known, err
	}})
	if err != nil {
		return datastorage.Caller{}, fmt.Errorf("asking who the token stands for: %w: %w", datastorage.ErrBusy, err)
	}
	who := v.(identified)
	if !who.known {
		return datastorage.Caller{}, datastorage.ErrUnauthenticated
	}
	return who.caller, nil
}

// review sends a TokenReview. The audience must be ours: a token that was made for
// another service is no identity here.
func (g *Gate) review(ctx context.Context, token string) (identified, error) {
	review, err := g.reviews.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{g.audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return identified{}, err
	}
	if !review.Status.Authenticated || !slices.Contains(review.Status.Audiences, g.audience) {
		return identified{}, nil
	}
	user := review.Status.User
	caller := datastorage.Caller{Type: "user", ID: user.Username, UID: user.UID, Groups: user.Groups, Extra: map[string][]string{}}
	if strings.HasPrefix(user.Username, "system:serviceaccount:") {
		caller.Type = "serviceaccount"
	}
	for name, values := range user.Extra {
		caller.Extra[name] = values
	}
	return identified{caller, user.Username != ""}, nil
}

// Allows asks whether a caller has a right on a resource of our group.
func (g *Gate) Allows(ctx context.Context, c datastorage.Caller, a datastorage.Access) (bool, error) {
	key := rightKey(c, a)
	v, err := g.remember(ctx, question{g.rights, "right " + key, key, func(ctx context.Context) (any, bool, error) {
		allowed, err := g.access(ctx, c, a)
		return allowed, allowed, err
	}})
	if err != nil {
		return false, fmt.Errorf("asking whether %s may %s %s: %w: %w", c.ID, a.Verb, a.Resource, datastorage.ErrBusy, err)
	}
	return v.(bool), nil
}

func (g *Gate) access(ctx context.Context, c datastorage.Caller, a datastorage.Access) (bool, error) {
	extra := map[string]authorizationv1.ExtraValue{}
	for name, values := range c.Extra {
		extra[name] = values
	}
	review, err := g.accesses.Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: c.ID, UID: c.UID, Groups: c.Groups, Extra: extra,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Group: Group, Resource: a.Resource, Verb: a.Verb},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// rightKey is the same for the same question about the same caller.
func rightKey(c datastorage.Caller, a datastorage.Access) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q %q", c.ID, c.UID, c.Groups, c.Extra, a.Verb, a.Resource))
	return string(sum[:])
}

// question is asked once at a time, and its answer kept.
type question struct {
	answers *cache.LRUExpireCache
	flight  string
	key     string
	ask     func(context.Context) (answer any, yes bool, err error)
}

func (g *Gate) remember(ctx context.Context, q question) (any, error) {
	if v, ok := q.answers.Get(q.key); ok {
		return v, nil
	}
	v, err, _ := g.asking.Do(q.flight, func() (any, error) {
		select {
		case g.slots <- struct{}{}:
			defer func() { <-g.slots }()
		default:
			return nil, errTooMany
		}
		// Others wait for this answer, too: one caller who leaves must not end it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askFor)
		defer cancel()
		v, yes, err := q.ask(ctx)
		if err != nil {
			return nil, err
		}
		keep := noFor
		if yes {
			keep = yesFor
		}
		q.answers.Add(q.key, v, keep)
		return v, nil
	})
	return v, err
}
