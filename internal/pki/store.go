package pki

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Store keeps an environment's certificates in a folder: NAME.crt and NAME.key.
// What is there and good is used, everything else is made.
type Store struct {
	Dir string
	Now time.Time // the time by which certificates are judged
}

// Authority returns the authority of that name. A damaged one is an error, not
// a new authority: everybody who trusts it would have to be told.
func (s Store) Authority(name string) (*Authority, error) {
	pair, err := s.read(name)
	if errors.Is(err, os.ErrNotExist) {
		return s.newAuthority(name)
	}
	if err != nil {
		return nil, err
	}
	old, err := ParseAuthority(pair)
	if err != nil {
		return nil, fmt.Errorf("authority in %s: %w; take the environment down and up again to get a new one", s.path(name, ""), err)
	}
	ca, err := old.Renewed(s.Now)
	if err != nil || ca == old {
		return ca, err
	}
	return ca, s.write(name, ca.Pair)
}

func (s Store) newAuthority(name string) (*Authority, error) {
	ca, err := NewAuthority(name, s.Now)
	if err != nil {
		return nil, err
	}
	return ca, s.write(name, ca.Pair)
}

// Leaf returns the certificate of that name, issued by ca. It is issued again
// when it does not say what r asks for or will soon end.
func (s Store) Leaf(ca *Authority, name string, r Request) (Pair, error) {
	pair, err := s.read(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Pair{}, err
	}
	if err == nil && ca.Problem(pair, r, s.Now) == "" {
		return pair, nil
	}
	if pair, err = ca.Issue(r, s.Now); err != nil {
		return Pair{}, err
	}
	return pair, s.write(name, pair)
}

// Key returns the private key of that name, PEM. It is made once.
func (s Store) Key(name string) ([]byte, error) {
	path := s.path(name, ".key")
	raw, err := os.ReadFile(path)
	if err == nil {
		if _, err := parseKey(raw); err == nil {
			return raw, nil
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if raw, err = NewKey(); err != nil {
		return nil, err
	}
	return raw, replace(path, raw)
}

func (s Store) path(name, suffix string) string { return filepath.Join(s.Dir, name+suffix) }

func (s Store) read(name string) (p Pair, err error) {
	if p.Cert, err = os.ReadFile(s.path(name, ".crt")); err != nil {
		return p, err
	}
	p.Key, err = os.ReadFile(s.path(name, ".key"))
	return p, err
}

// write stores the key first: a certificate that is there has had its key
// written, and one that was interrupted in between is found not to match.
func (s Store) write(name string, p Pair) error {
	if err := replace(s.path(name, ".key"), p.Key); err != nil {
		return err
	}
	return replace(s.path(name, ".crt"), p.Cert)
}

// replace writes a file that only its owner may read, in one step.
func replace(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	aside := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.WriteFile(aside, content, 0o600); err != nil {
		return err
	}
	return os.Rename(aside, path)
}
