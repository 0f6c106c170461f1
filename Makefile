# Two commands matter: `make demo` (a first answer from nothing) and `make test` (everything that must hold).
# Both set up .venv by themselves. Choose another interpreter with `make PYTHON=/path/to/python3.12 ...`.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
SAMPLES := app/sample.jpg app/accident.jpg

# The environment counts as whole only if it was made at this place and its pip still runs; otherwise it is made anew.
# Every stamp is written last, so that an interrupted set-up is simply done again.
WHOLE := $(shell grep -qxF '$(CURDIR)' $(VENV)/.place 2>/dev/null && $(BIN)/python -m pip --version >/dev/null 2>&1 && echo yes)
ifneq ($(WHOLE),yes)
.PHONY: $(VENV)/.place
endif

.PHONY: help demo web test kill-test screenshots load lint fix clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo   set up the serving parts and diagnose two sample photos'
	@echo 'make web    serve the page on http://127.0.0.1:7860'
	@echo 'make test   set up everything, then lint, types and tests'
	@echo 'make kill-test   kill the program 60 times while it writes, and look for lost cases'
	@echo 'make screenshots   pictures of each page, into out/screenshots      make load   50 owners at once for 2 minutes'
	@echo 'make lint   lint and types only        make fix   repair what lint can repair'
	@echo 'make clean  remove the environment, caches and out/'

$(VENV)/.place:
	@rm -rf $(VENV)
	@. .ci/find-python && echo "Making $(VENV) with $$python" && "$$python" -m venv $(VENV)
	@$(BIN)/python -m pip --version >/dev/null
	@echo '$(CURDIR)' > $@

$(VENV)/.serving: $(VENV)/.place pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

# The whole environment holds the serving parts too.
$(VENV)/.everything: $(VENV)/.place pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev,train]'
	@touch $(VENV)/.serving $@

$(VENV)/.browser: $(VENV)/.everything
	@.ci/find-browser $(BIN)
	@touch $@

demo: $(VENV)/.serving
	@$(BIN)/yangche diagnose $(SAMPLES) --out out
	@echo
	@echo '打开网页 / Open the page:  make web   ->  http://127.0.0.1:7860'
	@echo '诊断你自己的照片 / Your own photo:  $(BIN)/yangche diagnose PHOTO.jpg'

web: $(VENV)/.serving
	$(BIN)/yangche web

lint: $(VENV)/.everything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: $(VENV)/.everything
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(VENV)/.browser lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

kill-test: $(VENV)/.everything
	YANGCHE_KILLS=60 $(BIN)/python -m pytest tests/test_kill.py

screenshots: $(VENV)/.browser
	$(BIN)/python -m tests.screenshots
	$(BIN)/python -m tests.screenshots --readme

load: $(VENV)/.everything
	$(BIN)/python -m tests.load

clean:
	rm -rf $(VENV) out build *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find app knowledge models training vision tests -name __pycache__ -type d -prune -exec rm -rf {} +
