//! `micado image`: learned footprints of images, and their critical usage.

use super::{
    args::{ImageVerb, SetImageArgs},
    failure::Failure,
    page::Page,
    printer::Printer,
    tables,
};
use micado_api::{Client, Critical, SetImageRequest};

pub(super) async fn image(
    verb: ImageVerb,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    match verb {
        ImageVerb::List => list(client, printer).await,
        ImageVerb::Set(args) => set(args, client, printer).await,
    }
}

async fn list(client: &Client, printer: &Printer) -> Result<(), Failure> {
    let images = client.images().await?;
    printer.data(&images, || {
        if images.is_empty() {
            Page::default()
        } else {
            Page::default().with(tables::images(&images))
        }
    })?;
    if images.is_empty() {
        printer.note("no images");
    }
    Ok(())
}

async fn set(args: SetImageArgs, client: &Client, printer: &Printer) -> Result<(), Failure> {
    let mut critical = Critical::default();
    if !args.clear {
        // An unknown image is refused below.
        critical = client
            .images()
            .await?
            .into_iter()
            .find(|it| it.image == args.name)
            .map_or(critical, |it| it.critical);
        critical = Critical {
            memory: args.critical_memory.or(critical.memory),
            cpu: args.critical_cpu.or(critical.cpu),
        };
    }
    let image = client
        .set_image(&SetImageRequest {
            image: args.name,
            critical,
        })
        .await?;
    printer.data(&image, || {
        Page::default().with(tables::images(std::slice::from_ref(&image)))
    })?;
    Ok(())
}
