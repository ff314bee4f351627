package environment

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/semver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/upstream"
)

const (
	tektonController = "tekton-pipelines-controller"
	tektonResolvers  = "tekton-pipelines-remote-resolvers"
	// oldestTekton is the oldest release with the API that is used.
	oldestTekton = "v1.0.0"
)

func (k *kube) hasTekton(ctx context.Context) (bool, error) {
	_, err := k.Core.AppsV1().Deployments(upstream.TektonNamespace).Get(ctx, tektonController, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for Tekton: %w", err)
	}
	return true, nil
}

// tektonOfOthers is the one step that checks a Tekton which is there already. It
// provides what ours would.
func (w *world) tektonOfOthers(ours []component) component {
	step := plan.Step{Name: "tekton", Expected: time.Second, Needs: needs(clusterObject)}
	for _, c := range ours {
		for _, o := range c.Provides {
			if o.Kind != "Image" {
				step.Provides = append(step.Provides, o)
			}
		}
	}
	return component{step, w.checkTekton}
}

// checkTekton names everything of an installed Tekton that would make runs fail.
func (w *world) checkTekton(ctx context.Context, say func(string)) error {
	k, err := w.kube()
	if err != nil {
		return err
	}
	say("checking the Tekton that is installed")
	t, err := k.installedTekton(ctx)
	if err != nil {
		return err
	}
	if w.options.RegistryCA != "" {
		if t.ca, err = w.options.registryCA(); err != nil {
			return err
		}
	}
	if problems := tektonProblems(t); len(problems) > 0 {
		return fmt.Errorf("Tekton %s is installed and is never patched from here; it does not fit: %s", t.version, strings.Join(problems, "; "))
	}
	say("Tekton " + t.version + " is installed and fits")
	return nil
}

// installedTekton is what is looked at of a Tekton that was there before.
type installedTekton struct {
	version        string
	flags          map[string]string
	resolverFlags  map[string]string
	resolversReady int32
	trusted        []byte // certificates of registries
	ca             []byte // who signs for the registry, where that is one of its own
}

func (k *kube) installedTekton(ctx context.Context) (installedTekton, error) {
	config := func(namespace, name string) (map[string]string, error) {
		found, err := k.Core.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("reading Tekton's ConfigMap %s: %w", name, err)
		}
		return found.Data, nil
	}
	info, infoErr := config(upstream.TektonNamespace, "pipelines-info")
	flags, flagsErr := config(upstream.TektonNamespace, "feature-flags")
	certs, certsErr := config(upstream.TektonNamespace, "config-registry-cert")
	resolverFlags, resolverErr := config(upstream.ResolversNamespace, "resolvers-feature-flags")
	resolvers, err := k.Core.AppsV1().Deployments(upstream.ResolversNamespace).Get(ctx, tektonResolvers, metav1.GetOptions{})
	if err = client.IgnoreNotFound(err); err != nil {
		err = fmt.Errorf("looking for Tekton's resolvers: %w", err)
	}
	return installedTekton{
		version: info["version"], flags: flags, resolverFlags: resolverFlags,
		resolversReady: resolvers.Status.AvailableReplicas, trusted: []byte(certs["cert"]),
	}, errors.Join(infoErr, flagsErr, certsErr, resolverErr, err)
}

func tektonProblems(t installedTekton) []string {
	var all []string
	if older(t.version, oldestTekton) {
		all = append(all, fmt.Sprintf("it is older than %s: upgrade it", oldestTekton))
	}
	if t.flags["set-security-context"] != "true" {
		all = append(all, `in ConfigMap feature-flags, set-security-context is not "true": the pods of runs would be refused by Pod Security "restricted"`)
	}
	if t.resolversReady == 0 {
		all = append(all, fmt.Sprintf("Deployment %s in %s is not available: bundles cannot be resolved", tektonResolvers, upstream.ResolversNamespace))
	}
	if on, err := strconv.ParseBool(t.resolverFlags["enable-bundles-resolver"]); err == nil && !on {
		all = append(all, `in ConfigMap resolvers-feature-flags in `+upstream.ResolversNamespace+`, enable-bundles-resolver is not "true": bundles cannot be resolved`)
	}
	if t.ca != nil && !sharesCertificate(t.ca, t.trusted) {
		all = append(all, "ConfigMap config-registry-cert in "+upstream.TektonNamespace+" does not have the CA of --registry-ca: add it there and mount it into the resolvers")
	}
	return all
}

// sharesCertificate tells whether a certificate is in both texts.
func sharesCertificate(a, b []byte) bool {
	known := certificates(b)
	return slices.ContainsFunc(certificates(a), func(one []byte) bool {
		return slices.ContainsFunc(known, func(other []byte) bool { return bytes.Equal(one, other) })
	})
}

func certificates(text []byte) [][]byte {
	var all [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		all = append(all, block.Bytes)
	}
	return all
}

func older(version, than string) bool {
	return semver.IsValid(version) && semver.Compare(version, than) < 0
}
