//! Owns the function `classify(image, text)`: the bytes of a picture and a text, either of which may be null, to an answer.

use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use candle_core::Device;
use datafusion::arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanBuilder, Float32Builder, StringArray, StringBuilder,
    StructArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::cast::{as_binary_array, as_string_array};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use shared::bundle;
use shared::limits::FILE_BYTES;
use shared::predict::{Classifier, Prediction, RawPost};

/// The function's name.
pub const NAME: &str = "classify";
/// Posts that go through the towers together.
const POSTS: usize = 32;

/// The function, with a classifier where it is called, and without where queries are only planned.
#[derive(Clone)]
pub struct Classify {
    signature: Signature,
    classifier: Option<Arc<Classifier>>,
    /// Of the classifier's bundle.
    checksum: String,
}

impl Classify {
    /// The function as those know it who plan a query but do not run it.
    pub fn planned() -> Self {
        let arguments = vec![DataType::Binary, DataType::Utf8];
        Self {
            signature: Signature::exact(arguments, Volatility::Immutable),
            classifier: None,
            checksum: String::new(),
        }
    }

    /// The function of a bundle.
    ///
    /// # Errors
    /// If the folder holds no whole bundle.
    pub fn of_bundle(folder: &Path) -> anyhow::Result<Self> {
        let file = |name: &str| {
            let path = folder.join(name);
            let cannot = || format!("cannot read {}", path.display());
            let size = std::fs::metadata(&path).with_context(cannot)?.len();
            ensure!(
                size <= FILE_BYTES,
                "{} has {size} bytes; a file of a bundle has at most {FILE_BYTES}",
                path.display()
            );
            std::fs::read(&path).with_context(cannot)
        };
        let (manifest, classifier) = bundle::read(file, &Device::Cpu)?;
        Ok(Self {
            classifier: Some(Arc::new(classifier)),
            checksum: manifest.checksum,
            ..Self::planned()
        })
    }

    /// As DataFusion takes it.
    pub fn into_function(self) -> ScalarUDF {
        ScalarUDF::new_from_impl(self)
    }

    fn answers(&self, images: &BinaryArray, texts: &StringArray) -> Result<StructArray> {
        let Some(classifier) = &self.classifier else {
            return exec_err!("{NAME} was called where there is no model; executors need --bundle");
        };
        let mut answers = Answers::default();
        let posts: Vec<RawPost<'_>> = (0..images.len())
            .map(|row| RawPost {
                image: images.is_valid(row).then(|| images.value(row)),
                text: texts.is_valid(row).then(|| texts.value(row)),
            })
            .collect();
        for posts in posts.chunks(POSTS) {
            match classifier.classify_many(posts) {
                Ok(predictions) => predictions.iter().for_each(|one| answers.push(Ok(one))),
                // One of them cannot be classified: the others can.
                Err(_) => {
                    for post in posts {
                        let one = classifier.classify(post.image, post.text);
                        answers.push(one.as_ref().map_err(ToString::to_string));
                    }
                }
            }
        }
        Ok(answers.finish())
    }
}

/// What an answer is made of; a post that cannot be classified has an error and nothing else.
fn fields() -> Fields {
    Fields::from(vec![
        Field::new("label", DataType::Utf8, true),
        Field::new("probability", DataType::Float32, true),
        Field::new("case", DataType::Utf8, true),
        Field::new("sure", DataType::Boolean, true),
        Field::new("error", DataType::Utf8, true),
    ])
}

/// Answers in the making, column by column.
#[derive(Default)]
struct Answers {
    label: StringBuilder,
    probability: Float32Builder,
    case: StringBuilder,
    sure: BooleanBuilder,
    error: StringBuilder,
}

impl Answers {
    fn push(&mut self, one: std::result::Result<&Prediction, String>) {
        let good = one.as_ref().ok();
        self.label.append_option(good.map(|one| &one.label));
        self.probability
            .append_option(good.map(|one| one.probability));
        self.case.append_option(good.map(|one| one.case.name()));
        self.sure.append_option(good.and_then(|one| one.sure));
        self.error.append_option(one.err());
    }

    fn finish(mut self) -> StructArray {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.label.finish()),
            Arc::new(self.probability.finish()),
            Arc::new(self.case.finish()),
            Arc::new(self.sure.finish()),
            Arc::new(self.error.finish()),
        ];
        StructArray::new(fields(), columns, None)
    }
}

impl ScalarUDFImpl for Classify {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = args
            .args
            .iter()
            .map(|column| column.to_array(args.number_rows))
            .collect::<Result<Vec<_>>>()?;
        let [images, texts] = columns.as_slice() else {
            return exec_err!("{NAME} takes an image and a text");
        };
        let answers = self.answers(as_binary_array(images)?, as_string_array(texts)?)?;
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}

impl std::fmt::Debug for Classify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{NAME}({})", self.checksum)
    }
}

impl PartialEq for Classify {
    fn eq(&self, other: &Self) -> bool {
        self.checksum == other.checksum
    }
}

impl Eq for Classify {}

impl Hash for Classify {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.checksum.hash(state);
    }
}
