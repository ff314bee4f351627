package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// rules look for causes, each for its own kind. All of them are asked.
var rules = []func(*view) []Finding{
	podFindings,
	workloadFindings,
	claimFindings,
	serviceFindings,
	certificateFindings,
	webhookFindings,
	definitionFindings,
	namespaceFindings,
	nodeFindings,
	tektonFindings,
	awaitedFindings,
	stoppedFindings,
	stepFindings,
}

// Of names the root causes that the snapshot proves, the hopeless ones first.
func Of(s Snapshot) Diagnosis {
	d := Diagnosis{Taken: s.Taken, Findings: []Finding{}, Unread: s.Unreadable}
	if s.Server.Error != "" { // then nothing else was seen
		d.Findings = append(d.Findings, serverGone(s.Server))
		return d
	}
	v := newView(s)
	v.mended()
	var all []Finding
	for _, rule := range rules {
		all = append(all, rule(v)...)
	}
	all = roots(v.suffered(toldOnce(merged(all))))
	all = v.unexplained(all)
	for i := range all {
		all[i].Affects = v.affected(all[i])
	}
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(-compare(a.Hopeless, b.Hopeless), cmp.Compare(a.Object.String(), b.Object.String()), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Sentence, b.Sentence))
	})
	d.Findings = append(d.Findings, all...)
	d.Waiting = v.waiting(all)
	return d
}

func compare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// merged makes one finding of those that say the same about one object: the
// replicas of a Deployment fail alike.
func merged(all []Finding) []Finding {
	type key struct {
		code   Code
		object plan.Object
		more   string
	}
	at := map[key]int{}
	var kept []Finding
	for _, f := range all {
		k := key{f.Code, f.Object, f.merge}
		i, seen := at[k]
		if !seen {
			at[k] = len(kept)
			kept = append(kept, f)
			continue
		}
		into := &kept[i]
		into.explains = append(into.explains, f.explains...)
		into.blames = append(into.blames, f.blames...)
		into.Hopeless, into.idle = into.Hopeless || f.Hopeless, into.idle && f.idle
		if into.Visible.IsZero() || !f.Visible.IsZero() && f.Visible.Before(into.Visible) {
			into.Visible = f.Visible
		}
		if f.merge != "" { // other proofs of the same; of replicas one is enough
			into.Evidence = append(into.Evidence, f.Evidence...)
		}
	}
	return kept
}

// suffered leaves out, while not everything is applied, what may only lack its
// other half: a Service is there before its workload. What somebody suffers from stays.
func (v *view) suffered(all []Finding) []Finding {
	if !v.Unfinished {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(f Finding) bool {
		blamed := func(g Finding) bool { return !g.idle && slices.Contains(g.blames, f.Object) }
		return f.idle && !slices.ContainsFunc(all, blamed)
	})
}

// roots leaves out what follows from something that was found too.
func roots(all []Finding) []Finding {
	var kept []Finding
	for i, f := range all {
		if !slices.ContainsFunc(f.blames, func(o plan.Object) bool { return explained(all, i, o) }) {
			kept = append(kept, f)
		}
	}
	if len(kept) == 0 { // each blames another: then nothing is known to be the first
		return all
	}
	return kept
}

// explained tells whether another finding says why the object is not well.
func explained(all []Finding, but int, o plan.Object) bool {
	for i, g := range all {
		if i == but || slices.Contains(g.blames, o) { // who suffers from it as well does not explain it
			continue
		}
		if g.concerns(o) {
			return true
		}
	}
	return false
}

// unexplained adds the failed steps that no finding speaks about.
func (v *view) unexplained(all []Finding) []Finding {
	causes := len(all)
	for _, s := range v.Steps {
		if !slices.ContainsFunc(all[:causes], func(f Finding) bool { return s.explainedBy(f) }) {
			all = append(all, v.failed(s))
		}
	}
	return all
}

// awaitedFindings names what is waited for and does not exist.
func awaitedFindings(v *view) []Finding {
	var found []Finding
	for _, o := range v.Awaited {
		if _, ok := v.objects[o]; !ok && v.readable(o.Kind) && (o.Namespace == "" || v.looked(o.Namespace)) {
			f := Absent(o, v.names(o.Kind, o.Namespace))
			if o.Namespace != "" {
				f.blames = []plan.Object{{Kind: "Namespace", Name: o.Namespace}}
			}
			found = append(found, f)
		}
	}
	return found
}

// stoppedFindings names what is waited for and was told to run no pod at all.
// Elsewhere that is how people switch something off.
func stoppedFindings(v *view) []Finding {
	var found []Finding
	for _, o := range v.Awaited {
		u, ok := v.objects[o]
		if !ok || o.Kind != "Deployment" && o.Kind != "StatefulSet" {
			continue
		}
		if n, set, _ := unstructured.NestedInt64(u.Object, "spec", "replicas"); set && n == 0 {
			found = append(found, Finding{
				Code: ScaledToZero, Object: o, Hopeless: true,
				Sentence: fmt.Sprintf("%s is scaled to 0 replicas: none of its pods runs", o),
				Evidence: []Evidence{{From: o.String(), Text: "spec.replicas is 0"}},
				Next:     []string{kubectl(o.Namespace, fmt.Sprintf("scale %s %s --replicas=1", strings.ToLower(o.Kind), o.Name))},
				explains: v.servicesOf(u),
			})
		}
	}
	return found
}

// absentMakers are the workloads of the namespace that are waited for and do not exist.
func (v *view) absentMakers(namespace string) []plan.Object {
	var all []plan.Object
	for _, o := range v.Awaited {
		if _, ok := v.objects[o]; !ok && o.Namespace == namespace && (o.Kind == "Deployment" || slices.Contains(makers, o.Kind)) {
			all = append(all, o)
		}
	}
	return all
}

// toldOnce leaves out that an object does not exist where another finding says
// it too, and who needs it.
func toldOnce(all []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(all), func(f Finding) bool {
		return f.Code == NameUnknown && slices.ContainsFunc(all, func(g Finding) bool { return g.Object == f.Object && g.Code == ReferenceMissing })
	})
}
