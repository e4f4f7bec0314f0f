# The only requirements are Python 3.11+ and make. Each target makes its own virtual environment: `make demo` a small
# one in .venv-demo (server and client), all others a full one in .venv (with PyTorch).
#
#   make demo    start a server, stream a real MP4 through the client, print the detections, stop the server
#   make test    check format, lint, types and import contracts, and run all tests but the large ones
#   make test-large    the tests that `make test` leaves out: larger models, one more GPU, two training processes
#   make search  run the property tests with thousands of new examples
#   make train-everyday  the packaged default bundle: sources, training of three seeds, export, evaluation
#   make train-default   synthetic data, training, export and evaluation of the packaged synthetic bundle
#   make train-seeds     two more seeds of that model, and three seeds of a single-frame detector; takes hours
#   make page    build the web page that the server serves at / (needs Node 20.19 or newer)
#   make lock    lock the packages of the images, with hashes; MAKE_LOCK=--upgrade takes newer versions
#   make compose-test    build and run the CPU image and its compose profile; needs a Docker engine, not in `make test`
#   make clients-test    generate Python and TypeScript clients from the OpenAPI document and use them; needs a network
#   make findings    run the scripts that show the behaviour of other libraries; needs a network, not in `make test`
#   make figures     measure everything in benchmarks/README.md on this machine; not in `make test`
#   make release     build wheel and sdist in dist/, check them in empty environments, write SBOM and licences
#
# `make demo` accepts VIDEO=my.mp4 (another video), BUNDLE=folder (another bundle) and PORT=8123 (another port).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_VENV := .venv-demo
WORK := work
PORT ?= 8765
VIDEO ?=
BUNDLE ?=
SOURCES := training export server client tests docs docker benchmarks findings

.PHONY: demo train-everyday train-default train-seeds page screenshot lock compose-test clients-test release test format lint types contracts tests test-large search clean api-docs
.DELETE_ON_ERROR:

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "selsa needs Python 3.11 or newer; $(PYTHON) is older. Name another: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[dev]'
	touch $@

$(DEMO_VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "selsa needs Python 3.11 or newer; $(PYTHON) is older. Name another: make PYTHON=python3.12"; exit 1; }
	test -x $(DEMO_VENV)/bin/python || $(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[server]'
	touch $@

# The main job ---------------------------------------------------------------------------------------------

demo: $(DEMO_VENV)/.installed $(VIDEO)
	PATH="$(abspath $(DEMO_VENV)/bin):$$PATH" sh docs/demo.sh "$(PORT)" "$(VIDEO)" "$(BUNDLE)"

# The packaged synthetic bundle, trained with two processes, one per core. An interrupted `make train-default`
# resumes. SEED=1 trains another model. On a GPU: selsa train tiny --set batch=8 --set pretraining.batch=128 ...

SEED ?= 0
# Precisions in the bundle's report. Use PRECISION=fp32 if the processor has no bfloat16 or OpenVINO is not installed.
PRECISION ?= fp32,bf16
SYNTHETIC := $(WORK)/synthetic
RUN := $(WORK)/runs/tiny-$(SEED)
SYNTHETIC_BUNDLE := server/selsa_bundle/synthetic
RECORD := docs/default-model

$(SYNTHETIC)/synthesis.json: | $(VENV)/.installed
	$(BIN)/selsa synthesize $(SYNTHETIC) --seed 0

train-default: $(SYNTHETIC)/synthesis.json
	OMP_NUM_THREADS=1 $(BIN)/torchrun --standalone --nproc-per-node 2 --no-python $(BIN)/selsa train tiny \
		--data $(SYNTHETIC) -o $(RUN) --seed $(SEED) --amp auto --threads 1 --workers 1 --resume
	$(BIN)/python -m benchmarks.quality.synthesize_film server/selsa_bundle/sample.mp4 --number 100004 --overwrite
	$(BIN)/selsa export $(RUN)/checkpoint -o $(SYNTHETIC_BUNDLE) --frames server/selsa_bundle/sample.mp4 --native none \
		--precision $(PRECISION) --calibrate server/selsa_bundle/sample.mp4 --data $(SYNTHETIC) --overwrite \
		--title 'Synthetic sprites' \
		--description 'Knows drawn sprites of the 30 classes of ImageNet VID on synthetic backgrounds. For tests and for trying the software.' \
		--warning 'Not for real footage: it knows drawn sprites only, so its scores on real video mean nothing.'
	$(BIN)/selsa evaluate $(SYNTHETIC_BUNDLE) --data $(SYNTHETIC) --write-report
	$(BIN)/selsa evaluate $(RUN) --data $(SYNTHETIC) --json $(RECORD)/checkpoint.json \
		--curve reference_frames --curve proposals --plot $(RECORD)/curves.png
	cp $(RUN)/log.jsonl $(RUN)/recipe.json $(SYNTHETIC)/synthesis.json $(RECORD)/

# The packaged everyday bundle: three seeds trained on one cache of frozen features, at most half an hour on two cores.
# QUALITY="--video clip.mp4 --truth gt.txt" also measures the three models on a video with labelled persons.
SOURCES_EVERYDAY := $(WORK)/everyday
EVERYDAY := server/selsa_bundle/everyday
EVERYDAY_SEEDS := 0,1,2
QUALITY ?=

train-everyday: $(VENV)/.installed
	$(BIN)/selsa fetch-everyday $(SOURCES_EVERYDAY)
	$(BIN)/selsa train-everyday $(SOURCES_EVERYDAY) -o $(WORK)/runs --clips training/everyday-clips \
		--seeds $(EVERYDAY_SEEDS) --overwrite
	$(BIN)/selsa export $(WORK)/runs/everyday-0/checkpoint -o $(EVERYDAY) --native none --overwrite \
		--precision $(PRECISION) $(addprefix --calibrate ,$(wildcard training/everyday-clips/*.mp4)) \
		--frames server/selsa_bundle/everyday.mp4 --title 'Everyday objects' \
		--description 'Detects the 80 classes of COCO (people, vehicles, animals, household objects) in ordinary video. Small and fast: for trying the software on your own footage.'
	$(BIN)/python -m benchmarks.quality.everyday_quality --clips benchmarks/quality/clips $(QUALITY) \
		--json $(WORK)/everyday-quality.json $(WORK)/runs/everyday-?

# The synthetic model and the single-frame detector that it is compared with, three seeds each. `make train-default`
# makes tiny-0. Interrupted runs resume.
SEED_RUNS := tiny-1 tiny-2 tiny-single-frame-0 tiny-single-frame-1 tiny-single-frame-2

train-seeds: $(SYNTHETIC)/synthesis.json
	set -e; for each in $(SEED_RUNS); do \
		run=$(WORK)/runs/$$each; record=$(RECORD)/seeds/$$each; \
		OMP_NUM_THREADS=1 $(BIN)/torchrun --standalone --nproc-per-node 2 --no-python \
			$(BIN)/selsa train $${each%-*} --data $(SYNTHETIC) -o $$run --seed $${each##*-} \
			--amp auto --threads 1 --workers 1 --resume; \
		$(BIN)/selsa evaluate $$run --data $(SYNTHETIC) --json $$record.json; \
		cp $$run/log.jsonl $$record.log.jsonl; \
	done
	$(BIN)/python docs/seeds_page.py

# Swagger UI at /docs of the server: the files of the pinned npm package, checked against SHA256SUMS ----------
API_DOCS := server/selsa_server/api/swagger_ui
SWAGGER_UI := 5.35.0

api-docs:
	mkdir -p $(WORK)/swagger-ui
	cd $(WORK)/swagger-ui && npm pack --silent swagger-ui-dist@$(SWAGGER_UI) && tar xzf swagger-ui-dist-$(SWAGGER_UI).tgz
	cd $(WORK)/swagger-ui/package && cp swagger-ui-bundle.js swagger-ui-bundle.js.LICENSE.txt swagger-ui.css LICENSE NOTICE \
		$(abspath $(API_DOCS))
	cd $(API_DOCS) && sha256sum --check SHA256SUMS

# The web page of the server -------------------------------------------------------------------------------

PAGE := server/page

$(PAGE)/node_modules/.package-lock.json: $(PAGE)/package-lock.json
	cd $(PAGE) && npm ci --no-audit --no-fund

page: $(PAGE)/node_modules/.package-lock.json
	cd $(PAGE) && npm run build

screenshot: $(VENV)/.installed
	SELSA_SCREENSHOT=$(abspath docs/page.png) $(BIN)/pytest tests/page/test_page_video.py -k everyday

# Images and releases --------------------------------------------------------------------------------------

RELEASE_VENV := $(WORK)/release/venv
RELEASE_BIN := $(RELEASE_VENV)/bin
# The check of the large extras reuses the packages installed in .venv. RELEASE='--final' makes the real release.
RELEASE ?=

$(RELEASE_VENV)/.installed: docker/locks/release.txt
	$(PYTHON) -m venv $(RELEASE_VENV)
	$(RELEASE_BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

lock: $(RELEASE_VENV)/.installed
	MAKE_LOCK="$(MAKE_LOCK)" sh docker/lock.sh $(RELEASE_BIN)/uv

clients-test: $(VENV)/.installed
	$(BIN)/python -u tests/generated/clients_run.py

compose-test: $(VENV)/.installed
	$(BIN)/python -u tests/docker/compose_run.py

release: $(RELEASE_VENV)/.installed $(VENV)/.installed
	$(RELEASE_BIN)/python -u tests/release/release.py \
		--reuse training=$(abspath $(BIN)/python) --reuse export=$(abspath $(BIN)/python) $(RELEASE)

# Findings: scripts that show the behaviour of other libraries, without this project -------------------------
#
# FINDING=name runs one script. FINDINGS_VENV=folder uses one environment for all scripts instead of one for each.

FINDING ?=

.PHONY: findings
findings:
	@$(PYTHON) findings/run.py $(FINDING)

# Figures: benchmarks/README.md and its pictures, measured on this machine -----------------------------------
#
# This takes long. The models are made once, at the beginning. Run nothing else at the same time. To measure one
# figure: make figures-memory tables. For fewer rounds: ROUNDS=3

FIGURES := benchmarks/figures
ROUNDS ?= 5
MODELS := $(foreach name,r18 r50 r101 x101,$(WORK)/bench/$(name).bundle)
INT8 := $(WORK)/bench/r50-int8.bundle
FEWER := $(WORK)/bench/r50-75-int8.bundle
ALL_FIGURES := default r50 r50-profile models pytorch memory schedules

.PHONY: figures tables $(addprefix figures-,$(ALL_FIGURES))

# Sequential even under `make -j`: two measurements at the same time would disturb each other.
figures: $(VENV)/.installed
	@set -e; for each in $(ALL_FIGURES); do $(MAKE) --no-print-directory figures-$$each; done
	@$(MAKE) --no-print-directory tables

tables: $(VENV)/.installed
	$(BIN)/python -m benchmarks.report.readme_tables

$(WORK)/bench/%.bundle: | $(VENV)/.installed
	@mkdir -p $(WORK)/bench
	test -d $(WORK)/bench/$* || $(BIN)/selsa init $*-dc5 -o $(WORK)/bench/$*
	$(BIN)/selsa export $(WORK)/bench/$* -o $@ --native none

$(INT8): | $(WORK)/bench/r50.bundle
	$(BIN)/selsa quantize $(WORK)/bench/r50.bundle -o $@ --precision fp32,bf16,int8 --calibrate server/selsa_bundle/sample.mp4

$(FEWER): | $(WORK)/bench/r50.bundle
	$(BIN)/selsa export $(WORK)/bench/r50 -o $(WORK)/bench/r50-75.bundle --reference-proposals 75 --native none --overwrite
	$(BIN)/selsa quantize $(WORK)/bench/r50-75.bundle -o $@ --precision fp32,bf16,int8 --calibrate server/selsa_bundle/sample.mp4

figures-default: $(VENV)/.installed
	$(BIN)/selsa bench --provider cpu --precision fp32 --frames 48 --clients 1,2,4,8,16 --rounds $(ROUNDS) \
		--json $(FIGURES)/default.json
	$(BIN)/python -m benchmarks.speed.profile_bench $(FIGURES)/default.json
	$(BIN)/python -m benchmarks.report.plot_bench $(FIGURES)/default.json $(FIGURES)/default.png

figures-r50: $(INT8)
	$(BIN)/selsa bench --bundle $(INT8) --provider cpu,openvino --precision fp32,bf16,int8 --phases engines,pipeline \
		--rounds $(ROUNDS) --json $(FIGURES)/r50.json
	$(BIN)/python -m benchmarks.report.plot_bench $(FIGURES)/r50.json $(FIGURES)/r50.png

figures-r50-profile: $(WORK)/bench/r50.bundle
	$(BIN)/selsa bench --bundle $(WORK)/bench/r50.bundle --frames 16 --phases engines,pipeline \
		--rounds $(ROUNDS) --json $(FIGURES)/r50-profile.json
	$(BIN)/python -m benchmarks.speed.profile_bench $(FIGURES)/r50-profile.json --bundle $(WORK)/bench/r50.bundle

figures-models: $(MODELS)
	$(BIN)/selsa bench $(addprefix --bundle ,server/selsa_bundle/synthetic $(MODELS)) --frames 16 \
		--provider cpu --precision fp32 --phases engines,pipeline \
		--rounds $(ROUNDS) --json $(FIGURES)/models.json
	$(BIN)/python -m benchmarks.report.plot_bench $(FIGURES)/models.json $(FIGURES)/models.png

figures-pytorch: $(INT8) $(FEWER)
	$(BIN)/python -m benchmarks.speed.beside_pytorch --checkpoint $(WORK)/bench/r50 --bundle $(INT8) \
		--fewer-proposals $(FEWER) --rounds $(ROUNDS) --json $(FIGURES)/beside-pytorch.json --plot $(FIGURES)/beside-pytorch.png

figures-memory: $(VENV)/.installed
	$(BIN)/python -m benchmarks.memory.memory_of_length \
		--json $(FIGURES)/memory-of-length.json --plot $(FIGURES)/memory-of-length.png

figures-schedules: $(VENV)/.installed
	$(BIN)/python -m benchmarks.speed.schedules --rounds $(ROUNDS) --json $(FIGURES)/schedules.json

# The checks, the same here and in CI ----------------------------------------------------------------------

test: format lint contracts types-and-tests

# mypy takes minutes on one core, so it runs while the tests run. Its output is printed at the end. The target
# fails if mypy or the tests fail.
types-and-tests: $(VENV)/.installed
	@mkdir -p $(WORK)
	@$(BIN)/mypy > $(WORK)/types.txt 2>&1 & types=$$!; \
	failed=0; \
	$(MAKE) --no-print-directory tests || failed=1; \
	wait $$types || failed=1; \
	echo "$(BIN)/mypy"; cat $(WORK)/types.txt; \
	exit $$failed

format: $(VENV)/.installed
	$(BIN)/ruff format --check $(SOURCES)

lint: $(VENV)/.installed
	$(BIN)/ruff check $(SOURCES)

types: $(VENV)/.installed
	$(BIN)/mypy

contracts: $(VENV)/.installed
	$(BIN)/lint-imports

# The tests run in several processes, each with a file at a time, so torch gets one thread in each.
tests: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not large' -n logical --maxprocesses 4 \
		--dist loadfile --no-loadscope-reorder --max-worker-restart 0

test-large: $(VENV)/.installed
	$(BIN)/pytest -m large

# The property tests with thousands of random examples; `make test` uses the same few examples every time.
# For more: make search EXAMPLES=100000 SEARCH=tests/server/video/test_video_heads.py
EXAMPLES ?= 2000
SEARCH ?= $(shell grep -rl '^@given' tests)
search: $(VENV)/.installed
	SELSA_EXAMPLES=$(EXAMPLES) OMP_NUM_THREADS=1 $(BIN)/pytest -n logical -o faulthandler_timeout=0 \
		--hypothesis-profile search $(SEARCH)

clean:
	rm -rf $(VENV) $(DEMO_VENV) $(WORK)
