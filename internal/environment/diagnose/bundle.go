package diagnose

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/environment/derive"
)

// Bundle writes the diagnosis and all that it was made from as a tar.gz, for
// somebody who cannot look at the cluster. The same snapshot gives the same
// bytes. more are further files by path, already masked.
func Bundle(w io.Writer, s Snapshot, more map[string][]byte) error {
	files, err := filesOf(s)
	if err != nil {
		return err
	}
	maps.Copy(files, more)
	packed := gzip.NewWriter(w)
	archive := tar.NewWriter(packed)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: path.Join("diagnosis", name), Mode: 0o600,
			Size: int64(len(files[name])), ModTime: time.Unix(s.Taken.Unix(), 0).UTC(), Format: tar.FormatPAX,
		}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("writing %s into the bundle: %w", name, err)
		}
		if _, err := archive.Write(files[name]); err != nil {
			return fmt.Errorf("writing %s into the bundle: %w", name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("ending the bundle: %w", err)
	}
	return packed.Close()
}

func filesOf(s Snapshot) (map[string][]byte, error) {
	d := Of(s)
	told, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, err
	}
	whole, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"diagnosis.txt": []byte(d.Text()), "diagnosis.json": append(told, '\n'), "snapshot.json": append(whole, '\n')}
	for _, u := range s.Objects {
		raw, err := yaml.Marshal(u.Object)
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", derive.Of(u), err)
		}
		files[path.Join("objects", orCluster(u.GetNamespace()), strings.ToLower(u.GetKind()), u.GetName()+".yaml")] = raw
	}
	for _, l := range s.Logs {
		name := l.Container + ".log"
		if l.Previous {
			name = l.Container + ".previous.log"
		}
		files[path.Join("logs", l.Namespace, l.Pod, name)] = []byte(strings.Join(l.Lines, "\n") + "\n")
	}
	return files, nil
}

func orCluster(namespace string) string {
	if namespace == "" {
		return "cluster"
	}
	return namespace
}
