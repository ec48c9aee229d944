// Reads a normalized topic: read_committed, each value checked, committed after the work.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math/big"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Event is what this service needs of an event; keys it does not name are passed over.
type Event struct {
	ID      string  `json:"id"`
	Type    string  `json:"type"`
	Subject *string `json:"subject"`
	Amount  *Money  `json:"amount"`
}

// Money is minor units in digits: 10^18 wei fits no 64-bit integer and no JSON number.
type Money struct {
	Minor    string `json:"minor"`
	Currency string `json:"currency"`
	Exponent *int64 `json:"exponent"`
}

// Said is the line that is printed for an event.
type Said struct {
	ID        string  `json:"id"`
	Type      string  `json:"type"`
	Subject   *string `json:"subject"`
	Amount    *string `json:"amount"`
	Partition int32   `json:"partition"`
	Offset    int64   `json:"offset"`
}

// Billing is the work. A real service keeps the ids in its database, under a unique key, in the
// transaction of the effect: what is remembered here is forgotten at a restart.
type Billing struct {
	schemas map[string]*jsonschema.Schema
	seen    map[string]bool
}

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	schemas, err := readSchemas(setting("SCHEMAS", "../../../schemas"))
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(setting("COUNT", "0"))
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(setting("KAFKA_SERVERS", "localhost:9092"), ",")...),
		kgo.ConsumerGroup(setting("GROUP", "billing")),
		kgo.ConsumeTopics(setting("TOPIC", "events-payment")),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), // no partition is taken away in the middle of a batch
	)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	stopping, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()

	billing := Billing{schemas, map[string]bool{}}
	for handled := 0; count == 0 || handled < count; {
		fetches := client.PollRecords(stopping, 100)
		if stopping.Err() != nil {
			return nil
		}
		if err := errors.Join(errorsOf(fetches)...); err != nil {
			return err
		}
		var done []*kgo.Record
		for _, record := range fetches.Records() {
			if count != 0 && handled == count || stopping.Err() != nil {
				break
			}
			if billing.handle(record) {
				handled++
			}
			done = append(done, record)
		}
		if err := client.CommitRecords(context.Background(), done...); err != nil {
			return err
		}
		client.AllowRebalance()
	}
	return nil
}

// handle does the work for one record; false if there was none to do.
func (b *Billing) handle(record *kgo.Record) bool {
	event, err := b.checked(record)
	if err != nil {
		// your service would keep it somewhere, for a person
		log.Printf("refused %s/%d@%d: %s", record.Topic, record.Partition, record.Offset, oneLine(err))
		return false
	}
	if b.seen[event.ID] {
		log.Printf("seen before: %s", event.ID)
		return false
	}
	line, err := json.Marshal(Said{
		event.ID, event.Type, event.Subject, inWords(event.Amount), record.Partition, record.Offset,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(line))
	b.seen[event.ID] = true
	return true
}

// checked gives the event, or an error if it is not what its headers and its schema say.
func (b *Billing) checked(record *kgo.Record) (*Event, error) {
	headers := map[string]string{}
	for _, header := range record.Headers {
		headers[header.Key] = string(header.Value)
	}
	schema, known := b.schemas[headers["ce_dataschema"]]
	if !known {
		return nil, fmt.Errorf("no schema here is called %q", headers["ce_dataschema"])
	}
	// this one keeps numbers as their text: a float64 holds neither 9E+400 nor 20 digits
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(record.Value))
	if err != nil {
		return nil, err
	}
	if err := schema.Validate(value); err != nil {
		return nil, err
	}
	event := &Event{}
	if err := json.Unmarshal(record.Value, event); err != nil {
		return nil, err
	}
	if headers["ce_id"] != event.ID || headers["ce_type"] != "hookmill."+event.Type {
		return nil, errors.New("ce_id and ce_type are not those of the value")
	}
	return event, nil
}

// readSchemas compiles event.*.schema.json, by their $id.
func readSchemas(folder string) (map[string]*jsonschema.Schema, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "event.*.schema.json"))
	if err != nil {
		return nil, err
	}
	schemas := map[string]*jsonschema.Schema{}
	compiler := jsonschema.NewCompiler()
	for _, path := range paths {
		compiled, err := compiler.Compile(path)
		if err != nil {
			return nil, err
		}
		schemas[compiled.ID] = compiled
	}
	return schemas, nil
}

// inWords says "9.00 ZAR" for 900 cents: whole numbers of any size, never a float.
func inWords(money *Money) *string {
	if money == nil {
		return nil
	}
	if money.Exponent == nil {
		text := fmt.Sprintf("%s minor units of %s", money.Minor, money.Currency)
		return &text
	}
	minor, valid := new(big.Int).SetString(money.Minor, 10)
	if !valid {
		log.Fatalf("%q passed the schema and is no number", money.Minor)
	}
	sign, decimals := "", ""
	if minor.Sign() < 0 {
		sign = "-"
	}
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(*money.Exponent), nil)
	whole, rest := new(big.Int).QuoRem(minor.Abs(minor), unit, new(big.Int))
	if digits := rest.String(); *money.Exponent > 0 {
		decimals = "." + strings.Repeat("0", int(*money.Exponent)-len(digits)) + digits
	}
	text := fmt.Sprintf("%s%s%s %s", sign, whole, decimals, money.Currency)
	return &text
}

func errorsOf(fetches kgo.Fetches) (found []error) {
	for _, each := range fetches.Errors() {
		found = append(found, fmt.Errorf("%s/%d: %w", each.Topic, each.Partition, each.Err))
	}
	return found
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
